-- The next campaign of anybody wins at once; the epoch stays on record.
UPDATE tds_leaders SET renewed_at = '-infinity' WHERE name = $1 AND boot_id = $2;
