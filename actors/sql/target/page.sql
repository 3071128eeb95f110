-- One page of the living rows by source id, for comparing with the source. Relies on the unique index on the id column;
-- tombstoned records do not count, and rows the ERP made for itself have no source id.
SELECT t.{id}::text AS source_id, {local} AS local_id{columns}
FROM {table} AS t
WHERE t.{id} > $1::text
  AND NOT EXISTS (
      SELECT FROM tds_record_state AS s
      WHERE s.entity_type = $3 AND s.source_entity_id = t.{id}::text AND s.tombstoned_at IS NOT NULL)
ORDER BY t.{id}
LIMIT $2
