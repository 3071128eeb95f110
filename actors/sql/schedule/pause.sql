-- Pauses a schedule ($1) by $2 because of $3; pausing again only changes the reason.
INSERT INTO tds_configuration (key, value, updated_by)
VALUES ('schedule.' || $1 || '.paused', jsonb_build_object('reason', $3::text), $2)
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, updated_by = EXCLUDED.updated_by, updated_at = now()
