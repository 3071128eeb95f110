-- Ends a pause; returns nothing when there was none.
DELETE FROM tds_configuration WHERE key = 'schedule.' || $1 || '.paused' RETURNING key
