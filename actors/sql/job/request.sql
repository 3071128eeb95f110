-- Asks for a job. $1 kind, $2 selection, $3 requested_by, $4 reason, $5 correlation_id, $6 matched, $7 the newest of these
INSERT INTO tds_jobs (kind, selection, requested_by, reason, correlation_id, matched, last_id)
VALUES ($1, $2::text::jsonb, $3, $4, $5, $6, $7)
RETURNING id
