-- Both sides of every entity of a report. Relies on tds_reconciliations_report.
SELECT entity_type, depth, note, compared_at, counted, source_count, local_count, match_percentage, matched, missing, extra,
       different, in_flight, source_sums::text, local_sums::text, source_checksum, local_checksum, repairs, alarm, seconds
  FROM tds_reconciliations
 WHERE report_id = $1
 ORDER BY entity_type
