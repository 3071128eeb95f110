-- What stands here of these records, living rows with what is known of their version, and whether a task for them waits or is
-- in flight. Relies on the unique index on the id column, the primary key of the record state and the two indexes
-- that let one task of a record wait and one be in flight.
SELECT w.id AS source_id, {local} AS local_id, t.{id} IS NOT NULL AND s.tombstoned_at IS NULL AS living,
       EXISTS (SELECT FROM tds_sync_queue_live AS q
                WHERE q.entity_type = $2 AND q.source_entity_id = w.id AND q.status IN ('pending', 'failed'))
       OR EXISTS (SELECT FROM tds_sync_queue_live AS q
                   WHERE q.entity_type = $2 AND q.source_entity_id = w.id AND q.status = 'processing') AS waiting,
       s.source_entity_id IS NOT NULL AS known, s.variant, s.modified_at AS known_modified_at, s.observed_at,
       s.tombstoned_at, s.facets::text AS known_facets{columns}
FROM unnest($1::text[]) AS w (id)
LEFT JOIN {table} AS t ON t.{id} = w.id
LEFT JOIN tds_record_state AS s ON s.entity_type = $2 AND s.source_entity_id = w.id
