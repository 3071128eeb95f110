-- Somebody ($2) has seen it and says why it may stand ($3), for so many seconds ($4).
-- Returns nothing for an alert that is resolved or unknown.
UPDATE tds_alerts
   SET acknowledged = true, acknowledged_by = $2, acknowledged_at = now(), comment = $3,
       acknowledged_until = now() + $4::float8 * interval '1 second'
 WHERE id = $1 AND resolved_at IS NULL
RETURNING id, acknowledged_until
