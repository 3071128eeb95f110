-- The alerts of which somebody may still have to be told. Relies on the partial index of what is not settled.
SELECT id, alert_type, severity, cause, title, message, rule, runbook, labels::text AS labels, metadata::text AS metadata,
       occurrences, created_at, first_seen_at, last_seen_at, acknowledged, acknowledged_by, acknowledged_until, comment,
       notified_at, escalation_level, muted, resolved_at
  FROM tds_alerts
 WHERE NOT settled
 ORDER BY id
 LIMIT 5000
