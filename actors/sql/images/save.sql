-- This picture of the item lies in the directory now. $1 item, $2 document, $3 path, $4 content type, $5 bytes
INSERT INTO tds_images (source_entity_id, document_id, path, content_type, bytes)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (source_entity_id) DO UPDATE
   SET document_id = EXCLUDED.document_id, path = EXCLUDED.path, content_type = EXCLUDED.content_type,
       bytes = EXCLUDED.bytes, fetched_at = now();
