-- What happened in a run, for the person who asks later. $1 run_id, $2 level, $3 event, $4 entity, $5 message, $6 detail,
-- $7 correlation_id
INSERT INTO tds_sync_logs (run_id, level, event, entity_type, message, detail, correlation_id)
VALUES ($1, $2, $3, $4, left($5, 2000), $6::jsonb, $7);
