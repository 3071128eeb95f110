-- Keeps both sides of an entity and its alert in one statement: below the threshold, or with an alarm, the alert opens or is
-- renewed, else it is resolved; but counts that agree say nothing of records that differed. Returns whether the alert is new.
-- Relies on the unique index of open alerts.
-- $1 report, $2 entity, $3 threshold, $4 its columns as JSON
WITH compared AS (
    INSERT INTO tds_reconciliations (
        report_id, entity_type, depth, note, counted, source_count, local_count, match_percentage, matched, missing, extra,
        different, in_flight, source_sums, local_sums, source_checksum, local_checksum, repairs, alarm, seconds)
    SELECT $1, $2, i.depth, i.note, i.counted, i.source_count, i.local_count, i.match_percentage, i.matched, i.missing,
           i.extra, i.different, i.in_flight, i.source_sums, i.local_sums, i.source_checksum, i.local_checksum, i.repairs,
           i.alarm, i.seconds
      FROM json_to_record($4::json) AS i (
           depth text, note text, counted bigint, source_count bigint, local_count bigint, match_percentage float8,
           matched bigint, missing bigint, extra bigint, different bigint, in_flight bigint, source_sums jsonb,
           local_sums jsonb, source_checksum text, local_checksum text, repairs bigint, alarm text, seconds float8)
    RETURNING entity_type, depth, match_percentage, source_count, local_count, missing, extra, different, alarm
), opened AS (
    INSERT INTO tds_alerts AS a (alert_type, severity, cause, title, message, metadata)
    SELECT 'match_rate', 'warning', entity_type,
           entity_type || ' matches by ' || round(match_percentage::numeric, 2) || ' %' || COALESCE(': ' || NULLIF(alarm, ''), ''),
           'Read the report, then let it be repaired: tds-runtime reconcile report ' || $1::bigint,
           jsonb_build_object('report_id', $1::bigint, 'depth', depth, 'source_count', source_count, 'local_count', local_count,
                              'missing', missing, 'extra', extra, 'different', different)
      FROM compared WHERE match_percentage < $3 OR alarm <> ''
    ON CONFLICT (alert_type, cause) WHERE resolved_at IS NULL DO UPDATE
       SET title = excluded.title, message = excluded.message, metadata = excluded.metadata,
           occurrences = a.occurrences + 1, last_seen_at = now()
    RETURNING a.occurrences
), resolved AS (
    UPDATE tds_alerts AS a SET resolved_at = now()
      FROM compared AS c
     WHERE a.resolved_at IS NULL AND a.alert_type = 'match_rate' AND a.cause = c.entity_type AND c.match_percentage >= $3
       AND c.alarm = '' AND (c.depth = 'records' OR COALESCE(a.metadata->>'depth', 'counts') = 'counts')
)
SELECT COALESCE((SELECT occurrences = 1 FROM opened), false)
