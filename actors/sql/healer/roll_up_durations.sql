-- Makes an hour of its minutes, the oldest hour first that is over for two days; returns how many rows that took.
-- Two nodes at once do no harm: what one has taken the other does not find.
WITH oldest AS (
    SELECT date_trunc('hour', min(minute)) AS hour FROM tds_duration_minutes
     WHERE minute < date_trunc('hour', now()) - interval '2 days' AND minute <> date_trunc('hour', minute)
), taken AS (
    DELETE FROM tds_duration_minutes AS d USING oldest
     WHERE d.minute > oldest.hour AND d.minute < oldest.hour + interval '1 hour'
    RETURNING oldest.hour, d.kind, d.entity_type, d.bucket, d.tasks, d.seconds
), made AS (
    INSERT INTO tds_duration_minutes AS d (minute, kind, entity_type, bucket, tasks, seconds)
    SELECT hour, kind, entity_type, bucket, sum(tasks), sum(seconds) FROM taken GROUP BY 1, 2, 3, 4
    ON CONFLICT (minute, kind, entity_type, bucket) DO UPDATE SET
        tasks = d.tasks + EXCLUDED.tasks, seconds = d.seconds + EXCLUDED.seconds
)
SELECT count(*) FROM taken
