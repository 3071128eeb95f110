-- The nodes that have not stopped, and whether their lease still runs; nodes gone for a day are history.
SELECT name, host, pid, version, started_at, renewed_at,
       renewed_at BETWEEN now() - lease AND now() + lease AS alive
  FROM tds_nodes
 WHERE stopped_at IS NULL AND renewed_at > now() - interval '1 day'
 ORDER BY started_at
