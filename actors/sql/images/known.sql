-- Which picture of these items lies in the directory.
SELECT source_entity_id, document_id FROM tds_images WHERE source_entity_id = ANY ($1::text[]);
