-- Reports that this process ($1 its boot id) has by the table and not in hand, and those of dead nodes wait again; those that
-- have lost their owner $2 times fail. A node is dead when its lease is over by the database's clock, or when nobody knows it.
WITH lost AS (
    SELECT r.id, r.attempt_count
      FROM tds_reconciliation_reports AS r
      LEFT JOIN tds_nodes AS n ON n.boot_id = r.locked_by
     WHERE r.status = 'running'
       AND (r.locked_by = $1 OR n.boot_id IS NULL OR n.stopped_at IS NOT NULL
            OR now() - n.renewed_at NOT BETWEEN -n.lease AND n.lease)
       FOR UPDATE OF r SKIP LOCKED
)
UPDATE tds_reconciliation_reports AS r
   SET status = CASE WHEN lost.attempt_count >= $2 THEN 'failed' ELSE 'pending' END,
       completed_at = CASE WHEN lost.attempt_count >= $2 THEN now() END,
       error_code = CASE WHEN lost.attempt_count >= $2 THEN 'owner_lost' END,
       error_message = CASE WHEN lost.attempt_count >= $2
                            THEN 'its owner ended in the middle ' || lost.attempt_count || ' times' END,
       locked_by = NULL, current_entity = ''
  FROM lost
 WHERE r.id = lost.id
RETURNING r.id, r.status
