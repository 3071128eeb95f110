-- The stored versions of these records, locked until the effect commits, in key order so that nobody waits in a circle.
-- Relies on the primary key. A record without a row needs no lock: the queue lets one task of a record be in flight.
SELECT source_entity_id, variant, modified_at, observed_at, tombstoned_at, facets::text, current_facets
FROM tds_record_state
WHERE entity_type = $1 AND source_entity_id = ANY ($2::text[])
ORDER BY source_entity_id
FOR UPDATE
