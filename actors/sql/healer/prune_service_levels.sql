-- What service levels were on a day.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT day, level FROM tds_service_levels
     WHERE day < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_service_levels WHERE (day, level) IN (SELECT day, level FROM old) RETURNING 1
)
SELECT count(*) FROM gone
