-- complete and claim in one round trip. Both see the same snapshot: the waiting sibling of a task that is finished here is
-- claimed next time. The first column counts what was finished; without tasks there is one row of NULLs behind it.
-- $1 to $4 as for complete, $5 entity_type, $6 limit, $7 boot_id, $8 suspects: 'stop'
WITH
--+ queue/finish
,
--+ queue/pick 4
, claimed AS (
--+ queue/task
)
SELECT (SELECT count(*) FROM finished), claimed.* FROM (SELECT) AS one LEFT JOIN claimed ON true;
