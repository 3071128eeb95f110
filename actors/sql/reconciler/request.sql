-- Asks for a report. Relies on the unique index tds_reconciliation_reports_waiting: the same wish that has not begun is one
-- report; what is asked for by a slot of a schedule is always a report of its own.
-- $1 entity_type, $2 depth, $3 repair, $4 requested_by, $5 reason, $6 schedule, $7 slot, $8 correlation_id
INSERT INTO tds_reconciliation_reports AS r (
    entity_type, depth, repair, requested_by, reason, schedule, slot, correlation_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (entity_type, depth, repair) WHERE status = 'pending' AND attempt_count = 0 AND schedule IS NULL
DO UPDATE SET requests = r.requests + 1
RETURNING id
