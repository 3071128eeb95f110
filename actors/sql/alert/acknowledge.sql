-- Somebody ($2) has seen it and says why it may stand ($3). Returns nothing for an alert that is resolved or unknown.
UPDATE tds_alerts
   SET acknowledged = true, acknowledged_by = $2, acknowledged_at = now(), comment = $3
 WHERE id = $1 AND resolved_at IS NULL
RETURNING id
