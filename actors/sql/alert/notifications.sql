-- What was or was not sent because of an alert, in order. $1 alert, $2 at most
SELECT id, channel, kind, status, reason, attempt_count, created_at, ended_at
  FROM tds_notifications WHERE $1::bigint = ANY(alert_ids) ORDER BY id LIMIT $2
