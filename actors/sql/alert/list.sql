-- Alerts that are not resolved, or ($1) all of them, newest first, at most $2; before the id $3, of a type $4 and a
-- severity $5 where these are given.
SELECT id, alert_type, severity, cause, title, message, metadata::text AS metadata, labels::text AS labels, runbook,
       occurrences, created_at, first_seen_at, last_seen_at, acknowledged, acknowledged_by, acknowledged_at,
       acknowledged_until, comment, notified_at, escalation_level, muted, resolved_at
  FROM tds_alerts
 WHERE ($1 OR resolved_at IS NULL)
   AND ($3::bigint IS NULL OR id < $3)
   AND ($4::text IS NULL OR alert_type = $4)
   AND ($5::text IS NULL OR severity = $5)
 ORDER BY id DESC
 LIMIT $2
