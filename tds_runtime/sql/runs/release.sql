-- Puts runs back to wait, the attempt refunded, not before $3 (NULL: at once). How long that is does not count against the
-- timeout of a schedule. $1 ids, $2 fences
UPDATE tds_sync_runs AS r
   SET status = 'pending', locked_by = NULL, attempt_count = r.attempt_count - 1, available_at = $3,
       put_off = r.put_off + GREATEST(COALESCE($3::timestamptz - now(), '0'), '0')
  FROM unnest($1::bigint[], $2::bigint[]) AS g (id, fence)
 WHERE r.id = g.id AND r.fence = g.fence AND r.status = 'running'
RETURNING r.id;
