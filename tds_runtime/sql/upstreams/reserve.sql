-- Takes up to $2 permits so that no $4 seconds hold more than $3; nothing while a pause is ordered.
-- Relies on the row lock: reservations of one upstream follow each other, on all nodes. Marks of a later clock (it was set
-- back) are dropped.
WITH held AS MATERIALIZED (
    SELECT name, permit_marks, paused_until, pause_reason, clock_timestamp() AS at
      FROM tds_upstreams
     WHERE name = $1
       FOR UPDATE
), live AS (
    SELECT held.*,
           ARRAY(SELECT mark FROM unnest(held.permit_marks) AS mark
                  WHERE mark > held.at - $4::float8 * interval '1 second' AND mark <= held.at
                  ORDER BY mark) AS marks
      FROM held
), given AS (
    SELECT live.*,
           CASE WHEN paused_until > at THEN 0 ELSE GREATEST(LEAST($2::integer, $3::integer - cardinality(marks)), 0) END
               AS permits
      FROM live
), kept AS (
    UPDATE tds_upstreams AS u
       SET permit_marks = given.marks || array_fill(given.at, ARRAY[given.permits]), updated_at = given.at
      FROM given
     WHERE u.name = given.name AND given.permits > 0
)
SELECT permits,
       COALESCE(extract(epoch FROM marks[cardinality(marks) - $3::integer + 1] - at) + $4::float8, 0)::float8 AS wait,
       GREATEST(COALESCE(extract(epoch FROM paused_until - at), 0), 0)::float8 AS paused,
       pause_reason
  FROM given;
