-- Ids of living records in key order, after $3. $1 entity_type, $2 variant ('' is any), $4 limit
SELECT source_entity_id
  FROM tds_record_state
 WHERE entity_type = $1 AND ($2 = '' OR variant = $2) AND source_entity_id > $3 AND tombstoned_at IS NULL
 ORDER BY source_entity_id
 LIMIT $4;
