-- One action of an operator, beside the changes of records.
INSERT INTO tds_audit_trail (action, actor, reason, entity_type, source_entity_id, run_id, correlation_id, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb)
