-- What tells repeats of deliveries that could not be named: each content has a row of its own, so these would grow for ever.
-- Relies on the inbox's age: a row that points at nothing stored any more can call nothing a repeat of it.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT source, entity_type, record FROM tds_last_deliveries
     WHERE record LIKE 'body:%' AND seen_at < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_last_deliveries
     WHERE (source, entity_type, record) IN (SELECT source, entity_type, record FROM old) RETURNING 1
)
SELECT count(*) FROM gone
