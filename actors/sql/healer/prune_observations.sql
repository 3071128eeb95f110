-- What nodes have seen and nobody has judged.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT boot_id, batch FROM tds_alert_observations
     WHERE seen_at < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_alert_observations WHERE (boot_id, batch) IN (SELECT boot_id, batch FROM old) RETURNING 1
)
SELECT count(*) FROM gone
