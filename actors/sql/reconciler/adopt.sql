-- Makes rows that nobody pulled known as records of which nothing is known, so that a 404 of their own tombstones them like
-- any other. Relies on the primary key. $1 entity, $2 ids
INSERT INTO tds_record_state (entity_type, source_entity_id)
SELECT $1, id FROM unnest($2::text[]) AS id ORDER BY id COLLATE "C"
ON CONFLICT DO NOTHING
