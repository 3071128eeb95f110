-- The next poll claims again.
DELETE FROM tds_pauses WHERE entity_type = $1;
