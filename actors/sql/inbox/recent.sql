-- What arrived last, newest first, of one entity ($1) or of all (NULL), below an id ($2) or from the newest (NULL).
-- Relies on the primary key, and on (entity_type, source_entity_id, id) for one record ($3).
SELECT id, received_at, source, entity_type, source_entity_id, operation, modified_at, octet_length(body) AS bytes,
       correlation_id
  FROM tds_inbox_events
 WHERE ($1::text IS NULL OR entity_type = $1)
   AND ($2::bigint IS NULL OR id < $2)
   AND ($3::text IS NULL OR source_entity_id = $3)
 ORDER BY id DESC
 LIMIT $4
