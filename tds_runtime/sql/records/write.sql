-- Notes which versions are stored now and what the effect changed, in one round trip. Relies on the primary key, on one
-- row per record in $2, in key order, and on being the only writer of these records (lock.sql came before in this
-- transaction). Columns of states come as one JSON array each, audit lines as one JSON text: encoding arrays of the protocol
-- costs the client several times as much; before and after come beside them, with a character between that no JSON has, so
-- that the large ones are read once.
-- $1 entity_type, $2 to $8 states, $9 audit lines, $10 their before, $11 their after ('' for none)
WITH state AS (
    INSERT INTO tds_record_state AS s (
        entity_type, source_entity_id, variant, modified_at, observed_at, tombstoned_at, facets, current_facets)
    SELECT $1, i.id, i.variant, i.modified_at::timestamptz, i.observed_at::timestamptz, i.tombstoned_at::timestamptz,
           i.facets::jsonb, i.current_facets::text[]
    FROM ROWS FROM (
        json_array_elements_text($2::json), json_array_elements_text($3::json), json_array_elements_text($4::json),
        json_array_elements_text($5::json), json_array_elements_text($6::json), json_array_elements_text($7::json),
        json_array_elements_text($8::json)
    ) AS i (id, variant, modified_at, observed_at, tombstoned_at, facets, current_facets)
    ON CONFLICT (entity_type, source_entity_id) DO UPDATE
       SET variant = excluded.variant, modified_at = excluded.modified_at, observed_at = excluded.observed_at,
           tombstoned_at = excluded.tombstoned_at, facets = excluded.facets, current_facets = excluded.current_facets,
           updated_at = now()
)
INSERT INTO tds_audit_trail (
    entity_type, source_entity_id, action, local_id, source_modified_at, task_id, run_id, correlation_id, reason, before,
    after)
SELECT $1, i.id, i.action, i.local_id, i.modified_at, i.task_id, i.run_id, COALESCE(i.correlation_id, ''),
       COALESCE(i.reason, ''), i.before::jsonb, i.after::jsonb
FROM ROWS FROM (
    json_to_recordset($9::json) AS (
        source_entity_id text, action text, local_id text, source_modified_at timestamptz, task_id bigint, run_id bigint,
        correlation_id text, reason text),
    string_to_table($10::text, E'\x1e', ''),
    string_to_table($11::text, E'\x1e', '')
) AS i (id, action, local_id, modified_at, task_id, run_id, correlation_id, reason, before, after)
