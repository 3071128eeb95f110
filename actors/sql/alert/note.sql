-- Lines for the logs of alerts, in order; an alert that is gone has no log. $1 lines (JSON), $2 now
INSERT INTO tds_alert_events (alert_id, at, kind, detail, actor)
SELECT l.alert_id, $2::timestamptz, l.kind, COALESCE(l.detail, ''), COALESCE(l.actor, '')
  FROM ROWS FROM (
           jsonb_to_recordset($1::jsonb) AS (alert_id bigint, kind text, detail text, actor text)
       ) WITH ORDINALITY AS l (alert_id, kind, detail, actor, n)
  JOIN tds_alerts AS a ON a.id = l.alert_id
 ORDER BY l.n
