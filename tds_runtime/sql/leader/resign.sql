-- The next one who asks of anybody wins at once; the epoch stays on record.
UPDATE tds_leaders SET renewed_at = '2000-01-01' WHERE name = $1 AND boot_id = $2;
