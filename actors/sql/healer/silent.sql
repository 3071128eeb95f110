-- The source whose last webhook is older than $1 seconds, unless everything is being pulled for changes already or was asked
-- for within $2 seconds. Relies on ids of the inbox growing, on tds_sync_runs_open and on tds_sync_runs_requested.
SELECT newest.source, newest.received_at
  FROM (SELECT source, received_at FROM tds_inbox_events ORDER BY id DESC LIMIT 1) AS newest
 WHERE newest.received_at < now() - $1::float8 * interval '1 second'
   AND NOT EXISTS (
       SELECT FROM tds_sync_runs
        WHERE status IN ('pending', 'running') AND parent_id IS NULL AND entity_type = 'all' AND kind = 'incremental')
   AND NOT EXISTS (
       SELECT FROM tds_sync_runs
        WHERE requested_at > now() - $2::float8 * interval '1 second'
          AND parent_id IS NULL AND entity_type = 'all' AND kind = 'incremental')
