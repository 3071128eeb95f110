-- What is ours by the queue and in nobody's hands here: the answer to its claim was lost, and the server carried the claim
-- out after what we held had been given back. Relies on $2 naming all that is in hand.
-- $1 boot_id, $2 ids in hand, $3 seconds that an answer may be under way, $4 limit
SELECT id, fence FROM tds_sync_queue_live
 WHERE status = 'processing' AND locked_by = $1 AND id <> ALL ($2::bigint[])
   AND processing_started_at < now() - $3::float8 * interval '1 second'
 ORDER BY id LIMIT $4
