-- Items whose picture is kept although they are gone at the source; $1 at most. The primary key of records finds each.
SELECT i.source_entity_id
  FROM tds_images AS i
  JOIN tds_record_state AS s ON s.entity_type = 'product' AND s.source_entity_id = i.source_entity_id
 WHERE s.tombstoned_at IS NOT NULL
 ORDER BY i.source_entity_id
 LIMIT $1;
