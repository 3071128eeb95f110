-- Puts runs back to wait, the attempt refunded, not before $3 (NULL: at once). $1 ids, $2 fences
UPDATE tds_sync_runs AS r
   SET status = 'pending', locked_by = NULL, attempt_count = r.attempt_count - 1, available_at = $3
  FROM unnest($1::bigint[], $2::bigint[]) AS g (id, fence)
 WHERE r.id = g.id AND r.fence = g.fence AND r.status = 'running'
RETURNING r.id;
