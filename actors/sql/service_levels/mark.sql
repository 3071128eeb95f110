-- Marks this minute as one in which deliveries were taken: that a write works is shown by this one. Returns the seconds
-- until the next minute, by the same clock as the mark. $1 node
WITH marked AS (
    INSERT INTO tds_available_minutes (minute, node) VALUES (date_trunc('minute', now()), $1) ON CONFLICT DO NOTHING
)
SELECT extract(epoch FROM date_trunc('minute', now()) + interval '1 minute' - clock_timestamp())::float8
