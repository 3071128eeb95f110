-- Shared clause: changes as rows, for enqueue and hand_over. $1 changes as JSON, $2 their payloads
ROWS FROM (
    json_to_recordset($1::json) AS (
        entity_type text, source_entity_id text, operation text, payload_kind text, payload_hash text, variant text,
        source_modified_at timestamptz, observed_at timestamptz, priority smallint, run_id bigint,
        correlation_id text, reason text, coalesced integer),
    unnest($2::bytea[])
) AS change (
    entity_type, source_entity_id, operation, payload_kind, payload_hash, variant, source_modified_at, observed_at,
    priority, run_id, correlation_id, reason, coalesced, payload)
