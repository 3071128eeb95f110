-- Read by every claim. $1 entity_type, $2 reason, $3 by, $4 until
INSERT INTO tds_pauses (entity_type, reason, paused_by, until) VALUES ($1, $2, $3, $4)
ON CONFLICT (entity_type) DO UPDATE SET
    reason = EXCLUDED.reason, paused_by = EXCLUDED.paused_by, until = EXCLUDED.until, paused_at = now();
