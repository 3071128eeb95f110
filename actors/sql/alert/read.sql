-- One alert, resolved or not.
SELECT id, alert_type, severity, cause, title, message, metadata::text AS metadata, labels::text AS labels, runbook,
       occurrences, created_at, first_seen_at, last_seen_at, acknowledged, acknowledged_by, acknowledged_at,
       acknowledged_until, comment, notified_at, escalation_level, muted, resolved_at
  FROM tds_alerts
 WHERE id = $1
