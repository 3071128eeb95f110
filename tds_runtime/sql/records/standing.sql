-- What is known of each of these records: here, known to be gone, missing although its entity was listed whole, or nothing.
-- Relies on the primary keys of states and cursors. $1 pairs of entity and id as JSON
SELECT given.entity, given.record,
       CASE WHEN s.known AND NOT s.gone THEN 'here' WHEN s.known THEN 'gone' WHEN l.listed THEN 'missing' ELSE 'unknown' END
  FROM json_to_recordset($1::json) AS given (entity text, record text)
  LEFT JOIN LATERAL (
    SELECT true AS known, tombstoned_at IS NOT NULL AS gone FROM tds_record_state
     WHERE entity_type = given.entity AND source_entity_id = given.record LIMIT 1
  ) AS s ON true
  LEFT JOIN LATERAL (
    SELECT true AS listed FROM tds_sync_cursors
     WHERE entity_type = given.entity AND scanned_at IS NOT NULL LIMIT 1
  ) AS l ON true
