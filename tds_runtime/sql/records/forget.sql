-- Drops what is known of the content of these records, so that the next pull writes them whatever they say; versions and
-- tombstones stay. Relies on the primary key.
UPDATE tds_record_state
SET facets = '{}', current_facets = '{}', updated_at = now()
WHERE entity_type = $1 AND source_entity_id IN (
    SELECT s.source_entity_id FROM tds_record_state AS s
    WHERE s.entity_type = $1 AND s.source_entity_id = ANY ($2::text[])
    ORDER BY s.source_entity_id
    FOR UPDATE)
