-- Shared clause: what was picked goes into flight under a new fence.
UPDATE tds_sync_queue_live AS q
   SET status = 'processing', fence = q.fence + 1, attempt_count = q.attempt_count + 1, locked_by = $3,
       processing_started_at = now()
  FROM picked
 WHERE q.id = picked.id
RETURNING q.*
