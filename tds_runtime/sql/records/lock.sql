-- The stored versions of these records, locked until the effect commits, in key order so that nobody waits in a circle.
-- Relies on the primary key. A record without a row needs no lock: the queue lets one task of a record be in flight.
SELECT source_entity_id, variant, modified_at, observed_at, tombstoned_at, facets::text, current_facets
FROM tds_record_state
WHERE entity_type = $1 AND source_entity_id = ANY (ARRAY(SELECT json_array_elements_text($2::json)))
ORDER BY source_entity_id
FOR UPDATE
