-- Asks for a run. Relies on the unique index tds_sync_runs_waiting: the same wish that has not begun is one run; what is
-- asked for by a slot of a schedule is always a run of its own.
-- $1 entity_type, $2 kind, $3 requested_by, $4 schedule, $5 slot, $6 args, $7 correlation_id
INSERT INTO tds_sync_runs AS r (entity_type, kind, requested_by, schedule, slot, args, correlation_id)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7)
ON CONFLICT (entity_type, kind, md5(args::text))
      WHERE status = 'pending' AND attempt_count = 0 AND parent_id IS NULL AND schedule IS NULL
DO UPDATE SET requests = r.requests + 1
RETURNING id, requests;
