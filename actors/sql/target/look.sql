-- The living rows of these records, read without locks, for comparing with the source. Relies on the unique index on the
-- id column; tombstoned records do not count.
SELECT t.{id}::text AS source_id, {local} AS local_id{columns}
FROM {table} AS t
WHERE t.{id} = ANY ($1::text[])
  AND NOT EXISTS (
      SELECT FROM tds_record_state AS s
      WHERE s.entity_type = $2 AND s.source_entity_id = t.{id}::text AND s.tombstoned_at IS NOT NULL)
