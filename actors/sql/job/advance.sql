-- Keeps the place of a portion in the transaction that carries it out. Relies on the primary key and on job/hold.
-- $1 id, $2 position, $3 looked at, $4 changed
UPDATE tds_jobs
   SET position = $2, looked_at = looked_at + $3, changed = changed + $4, attempt_count = 1
 WHERE id = $1
