-- Entities ($1) with dead letters that were buried before their fingerprint became what it is, and how long ago that was, in
-- seconds. Relies on the key being the primary key and on the index of unresolved dead letters.
SELECT entity AS entity_type, extract(epoch FROM now() - c.updated_at)::float8 AS age
  FROM unnest($1::text[]) AS entity
  JOIN tds_configuration AS c ON c.key = 'healer.fingerprint.' || entity
 WHERE EXISTS (
       SELECT FROM tds_dead_letter_queue AS l
        WHERE l.entity_type = entity AND l.resolved_at IS NULL AND l.buried_at < c.updated_at)
 ORDER BY entity
