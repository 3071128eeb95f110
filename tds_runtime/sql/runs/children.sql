-- The runs of a run of everything.
SELECT
--+ runs/columns
  FROM tds_sync_runs AS r
 WHERE r.parent_id = $1
 ORDER BY r.id;
