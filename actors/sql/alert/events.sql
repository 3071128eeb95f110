-- What happened to an alert, in order. $1 alert, $2 at most
SELECT at, kind, detail, actor FROM tds_alert_events WHERE alert_id = $1 ORDER BY at, id LIMIT $2
