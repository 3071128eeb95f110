-- Outcomes of slots.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT schedule, slot FROM tds_slots
     WHERE decided_at < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_slots WHERE (schedule, slot) IN (SELECT schedule, slot FROM old) RETURNING 1
)
SELECT count(*) FROM gone
