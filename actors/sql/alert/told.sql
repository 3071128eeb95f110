-- An alert of which people were told while the database was away: it counts as told, so that they are not told again.
-- $1 alert, $2 when, $3 route, $4 group
WITH told AS (
    UPDATE tds_alerts SET notified_at = $2 WHERE id = $1 RETURNING id
)
INSERT INTO tds_alert_groups AS g (route, group_key, first_at, notified_at, told)
SELECT $3, $4, $2, $2, ARRAY[id] FROM told
ON CONFLICT (route, group_key) DO UPDATE SET notified_at = excluded.notified_at, told = g.told || excluded.told
