-- Moves a cursor with the rows it stands for, in their transaction; it never goes back, and NULL leaves it where it is.
-- $1 entity_type, $2 variant, $3 modified_at, $4 scanned_at, $5 run_id
INSERT INTO tds_sync_cursors AS c (entity_type, variant, modified_at, scanned_at, run_id)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (entity_type, variant) DO UPDATE
   SET modified_at = GREATEST(c.modified_at, EXCLUDED.modified_at), scanned_at = GREATEST(c.scanned_at, EXCLUDED.scanned_at),
       run_id = EXCLUDED.run_id, updated_at = now();
