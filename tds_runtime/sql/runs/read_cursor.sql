-- How far this source was read, by primary key.
SELECT modified_at, scanned_at FROM tds_sync_cursors WHERE entity_type = $1 AND variant = $2;
