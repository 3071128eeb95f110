-- Keeps a comparison and its alerts in one statement: an entity below the threshold opens its alert or renews it, one at
-- or above it resolves its alert. Returns the entities whose alert is new. Relies on the unique index of open alerts.
-- $1 entities, $2 source counts, $3 local counts, $4 match percentages, $5 threshold
WITH compared AS (
    INSERT INTO tds_reconciliations (entity_type, source_count, local_count, match_percentage)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::float8[])
    RETURNING entity_type, source_count, local_count, match_percentage
), opened AS (
    INSERT INTO tds_alerts AS a (alert_type, severity, cause, title, message, metadata)
    SELECT 'match_rate', 'warning', entity_type, entity_type || ' matches by ' || round(match_percentage::numeric, 2) || ' %',
           'Compare the counts, then run a full sync of the entity.',
           jsonb_build_object('source_count', source_count, 'local_count', local_count)
      FROM compared WHERE match_percentage < $5
     ORDER BY entity_type
    ON CONFLICT (alert_type, cause) WHERE resolved_at IS NULL DO UPDATE
       SET title = excluded.title, metadata = excluded.metadata, occurrences = a.occurrences + 1, last_seen_at = now()
    RETURNING a.cause, a.occurrences
), resolved AS (
    UPDATE tds_alerts AS a SET resolved_at = now()
      FROM compared AS c
     WHERE a.resolved_at IS NULL AND a.alert_type = 'match_rate' AND a.cause = c.entity_type AND c.match_percentage >= $5
)
SELECT cause FROM opened WHERE occurrences = 1 ORDER BY cause
