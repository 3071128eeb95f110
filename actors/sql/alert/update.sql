-- Writes down what the plan makes of alerts, and which are settled. An acknowledgement that came meanwhile stays.
-- $1 alerts (JSON), $2 settled
WITH planned AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS p (
        id bigint, expired boolean, notified_at timestamptz, escalation_level integer, muted text)
), settled AS (
    UPDATE tds_alerts SET settled = true WHERE id = ANY($2::bigint[]) AND resolved_at IS NOT NULL
)
UPDATE tds_alerts AS a
   SET notified_at = p.notified_at, escalation_level = p.escalation_level, muted = p.muted,
       acknowledged = a.acknowledged AND NOT p.expired,
       acknowledged_until = CASE WHEN p.expired THEN NULL ELSE a.acknowledged_until END
  FROM planned AS p
 WHERE a.id = p.id AND NOT a.id = ANY($2::bigint[])
