-- The stored versions of these records. Relies on the primary key.
SELECT source_entity_id, variant, modified_at, observed_at, tombstoned_at, facets::text, current_facets
FROM tds_record_state
WHERE entity_type = $1 AND source_entity_id = ANY (ARRAY(SELECT json_array_elements_text($2::json)))
