-- How many living rows there are, and the sums of their amounts and stock. Reads the whole table, for reports only.
SELECT count(*) AS rows{sums}
FROM {table} AS t
WHERE t.{id} IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM tds_record_state AS s
      WHERE s.entity_type = $1 AND s.source_entity_id = t.{id}::text AND s.tombstoned_at IS NOT NULL)
