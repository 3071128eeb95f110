-- Takes the round that has waited longest, or one whose owner is gone: this process's own, of an incarnation before ($1 its
-- boot id), or a dead node's. Relies on tds_healer_runs_open and on SKIP LOCKED. $2 node
UPDATE tds_healer_runs AS r
   SET status = 'running', locked_by = $1, node = $2, started_at = COALESCE(r.started_at, now())
 WHERE r.id = (
       SELECT h.id FROM tds_healer_runs AS h LEFT JOIN tds_nodes AS n ON n.boot_id = h.locked_by
        WHERE h.status = 'pending'
           OR (h.status = 'running'
               AND (h.locked_by = $1 OR n.boot_id IS NULL OR n.stopped_at IS NOT NULL
                    OR now() - n.renewed_at NOT BETWEEN -n.lease AND n.lease))
        ORDER BY h.id LIMIT 1 FOR UPDATE OF h SKIP LOCKED)
   AND r.status IN ('pending', 'running')
RETURNING r.id
