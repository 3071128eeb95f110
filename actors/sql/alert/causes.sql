-- What is wrong by the tables, and what was and is no longer: one row a cause, `holds` tells which.
-- Relies on the live leaf being small, and on whoever calls to keep what is found.
-- $1 recovered tasks (NULL: nobody looked, stuck tasks stay as they are), $2 $3 waiting tasks (warning, critical),
-- $4 $5 dead letters, $6 silence, $7 heartbeat (seconds), $8 schedules and $9 their graces (seconds), $10 missing records (NULL
-- as $1). A schedule is late when no success came up for its newest slot that is older than its grace, and was not
-- skipped on purpose; slots of versions that kept no rows of all work (no epoch) say nothing about that.
WITH counts AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'dead_letter') AS dead
      FROM tds_sync_queue_live
), newest AS MATERIALIZED (
    SELECT source, received_at FROM tds_inbox_events ORDER BY id DESC LIMIT 1
), slots AS MATERIALIZED (
    SELECT DISTINCT ON (schedule) schedule, slot, outcome, detail
      FROM tds_slots WHERE decided_at > now() - interval '8 days' ORDER BY schedule, slot DESC
), late AS MATERIALIZED (
    SELECT named.schedule, due.slot
      FROM unnest($8::text[], $9::float8[]) AS named (schedule, grace)
     CROSS JOIN LATERAL (
           SELECT s.slot FROM tds_slots AS s
            WHERE s.schedule = named.schedule AND s.outcome IN ('ran', 'late', 'failed', 'skipped_overlap') AND s.epoch IS NOT NULL
              AND GREATEST(s.slot, s.decided_at) < now() - named.grace * interval '1 second'
            ORDER BY s.slot DESC LIMIT 1) AS due
     WHERE NOT EXISTS (
           SELECT FROM tds_scheduled_work AS w
            WHERE w.schedule = named.schedule AND w.status = 'completed' AND w.slot >= due.slot)
), found (alert_type, severity, cause, title, message, metadata) AS MATERIALIZED (
    SELECT 'queue_depth', CASE WHEN pending > $3 THEN 'critical' ELSE 'warning' END, 'queue',
           pending || ' tasks wait', 'Look whether the entities'' actors run and the source answers.',
           jsonb_build_object('pending_count', pending)
      FROM counts WHERE pending > $2
    UNION ALL
    SELECT 'dlq_overflow', CASE WHEN dead > $5 THEN 'error' ELSE 'warning' END, 'queue',
           dead || ' dead letters', 'Group them by error, mend the cause, retry.',
           jsonb_build_object('dlq_count', dead)
      FROM counts WHERE dead > $4
    UNION ALL
    SELECT 'stuck_task', 'warning', 'queue', $1::bigint || ' stuck tasks recovered',
           'Their owner died or hung; the log of that time says which.', jsonb_build_object('recovered_count', $1::bigint)
     WHERE $1::bigint > 0
    UNION ALL
    SELECT 'webhook_silence', 'warning', source, 'No webhook from ' || source,
           'Look at the source''s workflow rules and at the signature.', jsonb_build_object('last_received_at', received_at)
      FROM newest WHERE received_at < now() - $6::float8 * interval '1 second'
    UNION ALL
    SELECT 'node_lost', 'critical', boot_id, 'Node ' || name || ' is not heard of',
           'Look whether the process runs and reaches the database.',
           jsonb_build_object('host', host, 'pid', pid, 'renewed_at', renewed_at)
      FROM tds_nodes
     WHERE stopped_at IS NULL
       AND renewed_at < now() - $7::float8 * interval '1 second' AND renewed_at > now() - interval '1 day'
    UNION ALL
    SELECT 'schedule_failed', 'error', schedule, 'Schedule ' || schedule || ' failed', detail,
           jsonb_build_object('slot', slot)
      FROM slots WHERE outcome = 'failed'
    UNION ALL
    SELECT 'schedule_failed', 'error', schedule, 'Schedule ' || schedule || ' has had no success',
           'Its slot of ' || to_char(slot AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC is older than its grace.',
           jsonb_build_object('slot', slot)
      FROM late WHERE NOT EXISTS (SELECT FROM slots AS s WHERE s.schedule = late.schedule AND s.outcome = 'failed')
    UNION ALL
    SELECT 'missing_record', 'warning', 'reconciliation', $10::bigint || ' missing records are fetched',
           'A comparison found them at the source and not here; look how they were lost.',
           jsonb_build_object('missing_count', $10::bigint)
     WHERE $10::bigint > 0
)
SELECT alert_type, severity, cause, title, message, metadata::text AS metadata, true AS holds FROM found
UNION ALL
SELECT alert_type, severity, cause, title, message, metadata::text, false
  FROM tds_alerts AS a
 WHERE a.resolved_at IS NULL
   AND (a.alert_type IN ('queue_depth', 'dlq_overflow', 'webhook_silence', 'node_lost', 'schedule_failed')
        OR (a.alert_type = 'stuck_task' AND $1::bigint IS NOT NULL)
        OR (a.alert_type = 'missing_record' AND $10::bigint IS NOT NULL))
   AND NOT EXISTS (SELECT FROM found AS f WHERE f.alert_type = a.alert_type AND f.cause = a.cause)
