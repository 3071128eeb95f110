-- The runs that were asked for in 24 hours, by kind and status, without the parents of many. Relies on
-- tds_sync_runs_requested.
SELECT kind, status, count(*) AS runs, COALESCE(sum(listed), 0)::bigint AS listed, COALESCE(sum(applied), 0)::bigint AS applied,
       COALESCE(sum(dead), 0)::bigint AS dead, COALESCE(sum(calls), 0)::bigint AS calls
  FROM tds_sync_runs WHERE requested_at > now() - interval '24 hours' AND entity_type <> 'all'
 GROUP BY kind, status
