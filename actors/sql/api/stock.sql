-- Stock runs of a day and how many of their records ended in the dead letters. Relies on tds_sync_runs_requested.
SELECT count(*) AS runs,
       count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       COALESCE(sum(listed), 0)::bigint AS items,
       COALESCE(sum(applied), 0)::bigint AS applied,
       COALESCE(sum(dead), 0)::bigint AS failures
  FROM tds_sync_runs
 WHERE kind = 'stock' AND requested_at > now() - interval '24 hours'
