-- For people with nothing but psql: what is going on, and the few things one may have to do about it. The functions that
-- change something are the daemon's own statements, with their arguments by name: tds_requeue(entity => 'product').

-- Every entity with its tasks by status, how old its oldest waiting task is, and whether it is paused.
CREATE VIEW tds_queue_overview AS
SELECT q.entity_type,
       count(*) FILTER (WHERE q.status = 'pending') AS pending,
       count(*) FILTER (WHERE q.status = 'pending' AND q.available_at IS NOT NULL) AS put_off,
       count(*) FILTER (WHERE q.status = 'processing') AS processing,
       count(*) FILTER (WHERE q.status = 'failed') AS failed,
       count(*) FILTER (WHERE q.status = 'dead_letter') AS dead_letter,
       count(*) FILTER (WHERE q.status = 'completed' AND q.completed_at > now() - interval '24 hours') AS completed_24h,
       sum(q.coalesced) AS coalesced,
       now() - min(q.enqueued_at) FILTER (WHERE q.status IN ('pending', 'failed')) AS oldest_waiting,
       EXISTS (SELECT FROM tds_pauses AS p
                WHERE p.entity_type = q.entity_type AND (p.until IS NULL OR p.until > now())) AS paused
  FROM tds_sync_queue AS q
 GROUP BY q.entity_type
 ORDER BY q.entity_type;

-- Unresolved dead letters by cause: the commonest first, with one example.
CREATE VIEW tds_dead_letter_causes AS
SELECT error_code, entity_type, count(*) AS tasks, min(first_buried_at) AS since, max(buried_at) AS last,
       (array_agg(error_message ORDER BY id DESC))[1] AS example,
       (array_agg(task_id ORDER BY id DESC))[1] AS example_task_id
  FROM tds_dead_letter_queue
 WHERE resolved_at IS NULL
 GROUP BY error_code, entity_type
 ORDER BY tasks DESC, error_code, entity_type;

-- Processes, whether their leases hold, and what they have in flight.
CREATE VIEW tds_node_overview AS
SELECT n.boot_id, n.name, n.host, n.pid, n.version, n.started_at, n.renewed_at,
       CASE WHEN n.stopped_at IS NOT NULL THEN 'stopped'
            WHEN now() - n.renewed_at BETWEEN - n.lease AND n.lease THEN 'alive'
            ELSE 'dead' END AS state,
       (SELECT count(*) FROM tds_sync_queue_live AS q
         WHERE q.status = 'processing' AND q.locked_by = n.boot_id) AS tasks_in_flight,
       (SELECT string_agg(l.name, ', ' ORDER BY l.name) FROM tds_leaders AS l
         WHERE l.boot_id = n.boot_id AND now() - l.renewed_at BETWEEN - l.lease AND l.lease) AS leads
  FROM tds_nodes AS n
 ORDER BY n.started_at DESC;

-- Tasks by status, and how old the oldest waiting one is.
CREATE FUNCTION tds_get_queue_statistics(
    OUT pending bigint, OUT processing bigint, OUT failed bigint, OUT dead_letter bigint, OUT completed bigint,
    OUT cancelled bigint, OUT total bigint, OUT oldest_waiting interval
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'processing'),
           count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'dead_letter'),
           count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'cancelled'), count(*),
           now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed'))
      FROM tds_sync_queue
$$;

-- Is anything wrong? The same rule as /health: the thresholds are its defaults.
CREATE FUNCTION tds_get_health_summary() RETURNS jsonb LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH counted AS (
        SELECT * FROM tds_get_queue_statistics()
    ), ended AS (
        SELECT (SELECT count(*) FROM tds_sync_queue_done
                 WHERE status = 'completed' AND completed_at > now() - interval '24 hours') AS completed,
               (SELECT count(*) FROM tds_dead_letter_queue WHERE buried_at > now() - interval '24 hours') AS buried
    ), measured AS (
        SELECT CASE WHEN completed + buried = 0 THEN 100.0
                    ELSE round(100.0 * completed / (completed + buried), 2) END AS success_rate,
               (SELECT count(*) FROM tds_alerts WHERE resolved_at IS NULL AND NOT acknowledged) AS active_alerts,
               (SELECT count(*) FROM tds_node_overview WHERE state = 'alive') AS nodes_alive,
               (SELECT count(*) FROM tds_inbox_events WHERE received_at > now() - interval '24 hours') AS webhooks_24h
          FROM ended
    )
    SELECT jsonb_build_object(
        'status', CASE WHEN dead_letter > 100 OR pending > 5000 THEN 'critical'
                       WHEN dead_letter > 50 OR pending > 1000 THEN 'warning'
                       WHEN success_rate < 95 THEN 'degraded'
                       ELSE 'healthy' END,
        'timestamp', now(),
        'queue', jsonb_build_object('pending', pending, 'processing', processing, 'completed', completed, 'failed', failed,
                                    'dead_letter', dead_letter, 'cancelled', cancelled, 'total', total),
        'metrics', jsonb_build_object('success_rate', success_rate, 'active_alerts', active_alerts,
                                      'nodes_alive', nodes_alive, 'webhooks_received_24h', webhooks_24h,
                                      'oldest_waiting_seconds', COALESCE(EXTRACT(epoch FROM oldest_waiting), 0)),
        'thresholds', jsonb_build_object('queue_warning', 1000, 'queue_critical', 5000, 'dlq_warning', 50,
                                         'dlq_critical', 100))
      FROM counted, measured
$$;

-- Puts back what has been in flight for longer than `older_than`; what is out of attempts becomes a dead letter.
CREATE FUNCTION tds_recover_stuck_tasks(
    older_than interval DEFAULT '60 minutes', at_most integer DEFAULT 1000, why text DEFAULT 'stuck',
    attempts_allowed integer DEFAULT 5
) RETURNS TABLE (task_id bigint, became_dead_letter boolean) LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH lost AS MATERIALIZED (
        SELECT id FROM tds_sync_queue_live
         WHERE status = 'processing' AND COALESCE(processing_started_at, '-infinity') < now() - $1
         ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
    ),
--+ queue/give_back 2
$$;

-- Puts dead letters back into the queue, from zero attempts; every condition that is given must hold.
CREATE FUNCTION tds_requeue(
    dead_letter_ids bigint[] DEFAULT NULL, entity text DEFAULT NULL, record text DEFAULT NULL, code text DEFAULT NULL,
    buried_seconds_ago double precision DEFAULT NULL, retries_at_most integer DEFAULT NULL, at_most integer DEFAULT 1000,
    requested_by text DEFAULT current_user, attempts_spent integer DEFAULT 0, by_healer boolean DEFAULT false
) RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$
--+ queue/retry_dead
$$;

-- Lets go of what is old: whole days of finished tasks, and bounded numbers of deliveries that no task needs any more.
CREATE FUNCTION tds_prune(
    keep_tasks interval DEFAULT '14 days', keep_inbox interval DEFAULT '30 days', at_most integer DEFAULT 50000,
    OUT days_dropped integer, OUT tasks_deleted bigint, OUT deliveries_deleted bigint, OUT event_ids_deleted bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    days_dropped := tds_drop_partitions(keep_tasks);
    DELETE FROM tds_sync_queue_done_default
     WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM tds_sync_queue_done_default
         WHERE COALESCE(completed_at, enqueued_at) < now() - keep_tasks LIMIT at_most));
    GET DIAGNOSTICS tasks_deleted = ROW_COUNT;
    DELETE FROM tds_inbox_events
     WHERE id = ANY (ARRAY(
        SELECT id FROM tds_inbox_events
         WHERE received_at < now() - keep_inbox
           AND id NOT IN (SELECT inbox_id FROM tds_sync_queue_live WHERE inbox_id IS NOT NULL) LIMIT at_most));
    GET DIAGNOSTICS deliveries_deleted = ROW_COUNT;
    DELETE FROM tds_event_keys
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM tds_event_keys WHERE first_seen_at < now() - keep_inbox LIMIT at_most));
    GET DIAGNOSTICS event_ids_deleted = ROW_COUNT;
END
$$;
