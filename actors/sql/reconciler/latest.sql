-- The newest comparison of an entity with the report it belongs to. Relies on tds_reconciliations_entity.
SELECT report_id, entity_type, depth, note, compared_at, counted, source_count, local_count, match_percentage, matched, missing,
       extra, different, in_flight, source_sums::text, local_sums::text, source_checksum, local_checksum, repairs, alarm, seconds
  FROM tds_reconciliations
 WHERE entity_type = $1
 ORDER BY compared_at DESC
 LIMIT 1
