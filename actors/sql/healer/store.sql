-- What one round did.
INSERT INTO tds_healer_runs (node, stuck_tasks_recovered, dlq_items_retried, alerts_created, details)
VALUES ($1, $2, $3, $4, $5::jsonb)
RETURNING healed_at
