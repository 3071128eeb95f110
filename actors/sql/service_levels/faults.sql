-- Faults that ended in [$1, $2): what the daemon noted itself, and alerts. A person had a hand in an alert who acknowledged it
-- or did something while it was open. An alert that is open for longer than $3 seconds counts as it stands, and as nobody's.
-- Alerts of missed service levels are no faults of their own. Relies on tds_faults_ended and tds_audit_trail_actions.
WITH ended AS (
    SELECT ended_at - began_at AS took, true AS alone FROM tds_faults WHERE ended_at >= $1 AND ended_at < $2
    UNION ALL
    SELECT a.resolved_at - a.first_seen_at,
           a.acknowledged_at IS NULL AND NOT EXISTS (
               SELECT FROM tds_audit_trail AS t
                WHERE t.occurred_at >= a.first_seen_at AND t.occurred_at < a.resolved_at AND t.actor <> 'tds-runtime'
                  AND t.actor NOT LIKE 'schedule%' AND t.action LIKE '%.%')
      FROM tds_alerts AS a
     WHERE a.alert_type <> 'service_level' AND a.resolved_at >= $1 AND a.resolved_at < $2
    UNION ALL
    SELECT $2 - first_seen_at, false
      FROM tds_alerts
     WHERE alert_type <> 'service_level' AND first_seen_at < $2 - $3::float8 * interval '1 second'
       AND (resolved_at IS NULL OR resolved_at >= $2)
)
SELECT count(*) AS faults, count(*) FILTER (WHERE alone) AS alone,
       COALESCE(avg(extract(epoch FROM GREATEST(took, interval '0'))), 0)::float8 AS seconds
  FROM ended
