-- Notes which versions are stored now and what the effect changed, in one round trip. Relies on the primary key, on one
-- row per record in $2..$8, and on being the only writer of these records (lock.sql came before in this transaction).
-- $1 entity_type, $2 ids in key order, $3 variants, $4 modified_at, $5 observed_at, $6 tombstoned_at, $7 facets, $8 current
-- facets joined by commas; $9 audited ids, $10 actions, $11 local ids, $12 before, $13 after, $14 modified_at, $15 tasks,
-- $16 runs, $17 correlation ids, $18 reasons
WITH state AS (
    INSERT INTO tds_record_state AS s (
        entity_type, source_entity_id, variant, modified_at, observed_at, tombstoned_at, facets, current_facets)
    SELECT $1, i.id, i.variant, i.modified_at, i.observed_at, i.tombstoned_at, i.facets::jsonb,
           string_to_array(i.current_facets, ',')
    FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[])
         AS i (id, variant, modified_at, observed_at, tombstoned_at, facets, current_facets)
    ON CONFLICT (entity_type, source_entity_id) DO UPDATE
       SET variant = excluded.variant, modified_at = excluded.modified_at, observed_at = excluded.observed_at,
           tombstoned_at = excluded.tombstoned_at, facets = excluded.facets, current_facets = excluded.current_facets,
           updated_at = now()
)
INSERT INTO tds_audit_trail (
    entity_type, source_entity_id, action, local_id, before, after, source_modified_at, task_id, run_id, correlation_id,
    reason)
SELECT $1, i.id, i.action, i.local_id, i.before::jsonb, i.after::jsonb, i.modified_at, i.task_id, i.run_id,
       i.correlation_id, i.reason
FROM unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::bigint[],
            $16::bigint[], $17::text[], $18::text[])
     AS i (id, action, local_id, before, after, modified_at, task_id, run_id, correlation_id, reason)
