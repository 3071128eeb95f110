-- The log of a run and of its runs, oldest first, after id $2.
SELECT l.id, l.run_id, l.logged_at, l.level, l.event, l.entity_type, l.message, l.detail::text AS detail, l.correlation_id
  FROM tds_sync_logs AS l
 WHERE (l.run_id = $1 OR l.run_id IN (SELECT id FROM tds_sync_runs WHERE parent_id = $1)) AND l.id > $2
 ORDER BY l.id
 LIMIT $3;
