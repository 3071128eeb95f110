-- Jobs that this process ($1 its boot id) has by the table and not in hand, and those of dead nodes wait again; those that
-- have lost their owner $2 times without a portion fail. A node is dead when its lease is over by the database's clock, or
-- when nobody knows it. Relies on tds_jobs_open.
WITH lost AS (
    SELECT j.id, j.attempt_count
      FROM tds_jobs AS j
      LEFT JOIN tds_nodes AS n ON n.boot_id = j.locked_by
     WHERE j.status = 'running'
       AND (j.locked_by = $1 OR n.boot_id IS NULL OR n.stopped_at IS NOT NULL
            OR now() - n.renewed_at NOT BETWEEN -n.lease AND n.lease)
       FOR UPDATE OF j SKIP LOCKED
)
UPDATE tds_jobs AS j
   SET status = CASE WHEN lost.attempt_count >= $2 THEN 'failed' ELSE 'pending' END,
       completed_at = CASE WHEN lost.attempt_count >= $2 THEN now() END,
       error_code = CASE WHEN lost.attempt_count >= $2 THEN 'owner_lost' END,
       error_message = CASE WHEN lost.attempt_count >= $2
                            THEN 'its owner ended in the middle ' || lost.attempt_count || ' times' END,
       locked_by = NULL
  FROM lost
 WHERE j.id = lost.id
RETURNING j.id, j.status
