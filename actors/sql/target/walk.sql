-- One page of the living rows by source id, with what is known of their version. Relies on the unique index on the id column
-- and the primary key of the record state; tombstoned records do not count, and rows the ERP made for itself have no source
-- id. $1 after this id, $2 limit, $3 entity
SELECT t.{id}::text AS source_id, {local} AS local_id, true AS living, false AS waiting,
       s.source_entity_id IS NOT NULL AS known, s.variant, s.modified_at AS known_modified_at, s.observed_at,
       s.tombstoned_at, s.facets::text AS known_facets{columns}
FROM {table} AS t
LEFT JOIN tds_record_state AS s ON s.entity_type = $3 AND s.source_entity_id = t.{id}
WHERE t.{id} > $1::text AND s.tombstoned_at IS NULL
ORDER BY t.{id}
LIMIT $2
