-- complete and claim in one round trip. Both see the same snapshot: the waiting sibling of a task that is finished here is
-- claimed next time. The first column counts what was finished; without tasks there is one row of NULLs behind it.
-- $1 rows as for complete, $2 entity_type, $3 limit, $4 boot_id
WITH
--+ queue/finish
,
--+ queue/pick 1
, claimed AS (
--+ queue/task
)
SELECT (SELECT count(*) FROM finished), claimed.* FROM (SELECT) AS one LEFT JOIN claimed ON true;
