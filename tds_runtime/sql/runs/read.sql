-- Runs by id.
SELECT
--+ runs/columns
  FROM tds_sync_runs AS r
 WHERE r.id = ANY ($1::bigint[])
 ORDER BY r.id;
