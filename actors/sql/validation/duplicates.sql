-- Values that several living rows have, whatever their case and the spaces around them, behind $1. Reads the whole table, for
-- reports only; returns at most $2 values with at most twenty records each. $3 entity
SELECT lower(btrim(t.{column}::text)) AS value, count(*) AS rows, (array_agg(t.{id}::text ORDER BY t.{id}))[1:20] AS records
  FROM {table} AS t
 WHERE t.{id} IS NOT NULL AND lower(btrim(t.{column}::text)) > $1
   AND NOT EXISTS (
       SELECT FROM tds_record_state AS s
       WHERE s.entity_type = $3 AND s.source_entity_id = t.{id} AND s.tombstoned_at IS NOT NULL)
 GROUP BY 1
HAVING count(*) > 1
 ORDER BY 1
 LIMIT $2
