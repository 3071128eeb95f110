-- The senders' own numbers of deliveries.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT source, event_id FROM tds_event_keys
     WHERE first_seen_at < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_event_keys WHERE (source, event_id) IN (SELECT source, event_id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
