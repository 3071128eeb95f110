-- Hands over what a node has seen. A batch whose answer was lost is sent again and is still one.
-- $1 boot_id, $2 batch, $3 observations (JSON)
INSERT INTO tds_alert_observations (boot_id, batch, body) VALUES ($1, $2, $3::jsonb) ON CONFLICT DO NOTHING
