-- Seconds since the last sweep of an entity's stock that read anything began. Relies on the index tds_sync_runs_recent.
-- $1 entity_type
SELECT extract(epoch FROM now() - started_at)::float8
  FROM tds_sync_runs
 WHERE entity_type = $1 AND kind = 'stock' AND pages > 0 AND started_at IS NOT NULL
 ORDER BY id DESC
 LIMIT 1;
