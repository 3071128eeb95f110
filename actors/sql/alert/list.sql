-- Alerts that are not resolved, or ($1) all of them, newest first, at most $2.
SELECT id, alert_type, severity, title, message, occurrences, created_at, last_seen_at, acknowledged, acknowledged_by,
       comment, resolved_at
  FROM tds_alerts
 WHERE $1 OR resolved_at IS NULL
 ORDER BY id DESC
 LIMIT $2
