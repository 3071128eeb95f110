-- Writes down what was told together, and forgets what has no more news. $1 groups, $2 closed (both JSON)
WITH closed AS (
    DELETE FROM tds_alert_groups AS g USING jsonb_to_recordset($2::jsonb) AS c (route text, group_key text)
     WHERE g.route = c.route AND g.group_key = c.group_key
)
INSERT INTO tds_alert_groups (route, group_key, first_at, notified_at, told)
SELECT route, group_key, first_at, notified_at, ARRAY(SELECT jsonb_array_elements_text(told)::bigint)
  FROM jsonb_to_recordset($1::jsonb) AS g (
      route text, group_key text, first_at timestamptz, notified_at timestamptz, told jsonb)
ON CONFLICT (route, group_key) DO UPDATE SET notified_at = excluded.notified_at, told = excluded.told
