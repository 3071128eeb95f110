-- How an attempt ended: sent, failed for good, or pending again until later; the alerts' logs say so when it is final.
-- Relies on the attempt's number: an attempt that another one overtook changes nothing.
-- $1 id, $2 attempt, $3 status, $4 reason, $5 in doubt, $6 seconds to wait, $7 attempts to give back, $8 now
WITH ended AS (
    UPDATE tds_notifications
       SET status = $3, reason = $4, in_doubt = $5, due_at = $8::timestamptz + $6::float8 * interval '1 second',
           attempt_count = attempt_count - $7, ended_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $8 END
     WHERE id = $1 AND attempt_count = $2 AND status = 'pending'
    RETURNING id, alert_ids, channel, kind, status, reason
), noted AS (
    INSERT INTO tds_alert_events (alert_id, at, kind, detail)
    SELECT a.id, $8, CASE e.status WHEN 'sent' THEN 'told' ELSE 'untold' END,
           e.channel || ' (' || e.kind || ')' || CASE WHEN e.reason = '' THEN '' ELSE ': ' || e.reason END
      FROM ended AS e JOIN tds_alerts AS a ON a.id = ANY(e.alert_ids)
     WHERE e.status <> 'pending'
)
SELECT id FROM ended
