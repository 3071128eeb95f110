-- What a round ($1) did; nothing changes when it was ended as overdue meanwhile.
UPDATE tds_healer_runs
   SET status = 'completed', completed_at = now(), healed_at = now(), locked_by = NULL,
       stuck_tasks_recovered = $2, dlq_items_retried = $3, alerts_created = $4, details = $5::jsonb
 WHERE id = $1 AND status = 'running'
RETURNING healed_at
