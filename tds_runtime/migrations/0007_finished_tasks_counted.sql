-- How many tasks were finished, without reading the finished days: a row for each minute in which something was.
-- Exact for all that the daemon does. A row that somebody changes or writes by hand makes its minute be counted again.

-- The watermark is the minute after the last one here; what was finished since is counted where it stands.
CREATE TABLE tds_finished_minutes (
    minute timestamptz PRIMARY KEY,
    completed bigint,             -- NULL: rows of this minute were changed by hand since, so they are counted again
    cancelled bigint
);

-- Tasks of the day partitions that were finished in [since, until), by minute, counted where they stand. Sequential scans
-- off: the days are read by their BRIN index, whatever an old ANALYZE says about the newest of them.
CREATE FUNCTION tds_finished_between(since timestamptz, until timestamptz)
RETURNS TABLE (minute timestamptz, completed bigint, cancelled bigint)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE '
        SELECT date_trunc(''minute'', completed_at), count(*) FILTER (WHERE status = ''completed''),
               count(*) FILTER (WHERE status = ''cancelled'')
          FROM tds_sync_queue_done
         WHERE completed_at >= $1 AND completed_at < $2 AND tableoid <> ''tds_sync_queue_done_default''::regclass
         GROUP BY 1' USING since, until;
END
$$;

-- Tasks that were finished since a moment; without one, all that are kept.
CREATE FUNCTION tds_count_finished(
    since timestamptz DEFAULT '-infinity', OUT completed bigint, OUT cancelled bigint
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH edges AS MATERIALIZED (
        SELECT GREATEST(COALESCE(max(minute) + interval '1 minute', '-infinity'), since) AS tail,
               date_trunc('minute', since - interval '1 microsecond') + interval '1 minute' AS first
          FROM tds_finished_minutes
    ), parts AS (
        SELECT sum(m.completed) AS completed, sum(m.cancelled) AS cancelled
          FROM edges JOIN tds_finished_minutes AS m ON m.minute >= edges.first
        UNION ALL
        SELECT f.completed, f.cancelled FROM edges, tds_finished_between(tail, 'infinity') AS f
        UNION ALL
        SELECT f.completed, f.cancelled FROM edges, tds_finished_between(since, first) AS f
         WHERE since < first AND first <= tail
        UNION ALL
        SELECT f.completed, f.cancelled
          FROM edges JOIN tds_finished_minutes AS m ON m.minute >= edges.first AND m.completed IS NULL,
               tds_finished_between(m.minute, m.minute + interval '1 minute') AS f
        UNION ALL
        SELECT count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'cancelled')
          FROM tds_sync_queue_done_default WHERE since = '-infinity' OR completed_at >= since
    )
    SELECT COALESCE(sum(parts.completed), 0)::bigint, COALESCE(sum(parts.cancelled), 0)::bigint FROM parts
$$;

-- BRIN skips new pages only once they are summarized, which autovacuum does when a fifth of a table is new.
CREATE FUNCTION tds_summarize_day(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '100ms' AS $$
BEGIN
    PERFORM brin_summarize_new_values(x.indexrelid)
       FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indexrelid JOIN pg_am AS a ON a.oid = c.relam
      WHERE a.amname = 'brin'
        AND x.indrelid = to_regclass('tds_sync_queue_done_' || to_char(moment AT TIME ZONE 'UTC', 'YYYYMMDD'));
EXCEPTION WHEN lock_not_available THEN
    NULL;                         -- vacuum is at it, and does the same
END
$$;

-- Sums up the minutes that are over, a day at a time; returns how many tasks that were. Relies on no transaction ending a
-- task later than a minute after it began, unless it has written something by then: completed_at is when it began.
CREATE FUNCTION tds_sum_up_finished() RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    summed timestamptz;
    reached timestamptz;
    tasks bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305801316121089637) THEN
        RETURN 0;                 -- another node is at it
    END IF;
    SELECT COALESCE(
        (SELECT max(minute) + interval '1 minute' FROM tds_finished_minutes),
        (SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
           FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'tds_sync_queue_done'::regclass AND c.relname ~ '^tds_sync_queue_done_\d{8}$')) INTO summed;
    IF summed IS NULL THEN
        RETURN 0;                 -- there are no days
    END IF;
    SELECT date_trunc('minute', LEAST(now() - interval '1 minute', min(xact_start))) INTO reached
      FROM pg_stat_activity
     WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid();
    IF summed + interval '1 day' < reached THEN
        reached := summed + interval '1 day';
        INSERT INTO tds_finished_minutes VALUES (reached - interval '1 minute', 0, 0);
    END IF;
    INSERT INTO tds_finished_minutes AS m SELECT * FROM tds_finished_between(summed, reached)
        ON CONFLICT (minute) DO UPDATE SET completed = EXCLUDED.completed, cancelled = EXCLUDED.cancelled;
    SELECT COALESCE(sum(completed + cancelled), 0) INTO tasks FROM tds_finished_minutes WHERE minute >= summed;
    UPDATE tds_finished_minutes AS m SET completed = again.completed, cancelled = again.cancelled
      FROM (SELECT touched.minute, COALESCE(sum(f.completed), 0) AS completed, COALESCE(sum(f.cancelled), 0) AS cancelled
              FROM (SELECT minute FROM tds_finished_minutes WHERE completed IS NULL
                     ORDER BY minute LIMIT 100 FOR UPDATE SKIP LOCKED) AS touched
              LEFT JOIN LATERAL tds_finished_between(touched.minute, touched.minute + interval '1 minute') AS f ON true
             GROUP BY touched.minute) AS again
     WHERE m.minute = again.minute;
    IF tasks > 0 THEN
        PERFORM tds_summarize_day(summed), tds_summarize_day(reached);
    END IF;
    RETURN tasks;
END
$$;

-- What the daemon never does: changing or removing a finished task, or writing one into a minute that is over.
CREATE FUNCTION tds_count_again() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tds_finished_minutes AS m (minute)
    SELECT DISTINCT date_trunc('minute', touched.at)
      FROM (VALUES (CASE WHEN TG_OP <> 'INSERT' THEN OLD.completed_at END),
                   (CASE WHEN TG_OP <> 'DELETE' THEN NEW.completed_at END)) AS touched (at)
     WHERE TG_TABLE_NAME <> 'tds_sync_queue_done_default'
       AND touched.at < (SELECT max(minute) + interval '1 minute' FROM tds_finished_minutes)
    ON CONFLICT (minute) DO UPDATE SET completed = NULL, cancelled = NULL WHERE m.completed IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER tds_count_again AFTER UPDATE OR DELETE ON tds_sync_queue_done
    FOR EACH ROW EXECUTE FUNCTION tds_count_again();
CREATE TRIGGER tds_count_late AFTER INSERT ON tds_sync_queue_done
    FOR EACH ROW WHEN (NEW.completed_at < now() - interval '1 minute') EXECUTE FUNCTION tds_count_again();

CREATE OR REPLACE FUNCTION tds_drop_partitions(keep interval DEFAULT '14 days') RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305801316121089635) THEN
        RETURN 0;                 -- another node makes or drops days
    END IF;
    FOR partition IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'tds_sync_queue_done'::regclass AND c.relname ~ '^tds_sync_queue_done_\d{8}$'
           AND to_date(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' < (now() - keep) AT TIME ZONE 'UTC'
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE %I', partition);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    -- Of days that are gone, whoever dropped them; what somebody is changing right now is for the next time.
    DELETE FROM tds_finished_minutes
     WHERE minute IN (
        SELECT minute FROM tds_finished_minutes
         WHERE to_regclass('tds_sync_queue_done_' || to_char(minute AT TIME ZONE 'UTC', 'YYYYMMDD')) IS NULL
           FOR UPDATE SKIP LOCKED);
    RETURN dropped;
END
$$;

-- A month that is being read is left for the next time, as a day is.
CREATE OR REPLACE FUNCTION tds_drop_audit_partitions(keep interval DEFAULT '400 days') RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305801316121089636) THEN
        RETURN 0;                 -- another node makes or drops months
    END IF;
    FOR partition IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'tds_audit_trail'::regclass AND c.relname ~ '^tds_audit_trail_\d{6}$'
           AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' < (now() - keep) AT TIME ZONE 'UTC'
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE %I', partition);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN dropped;
END
$$;

-- The same answers as before, at a price that does not grow with the finished days.
CREATE OR REPLACE FUNCTION tds_get_queue_statistics(
    OUT pending bigint, OUT processing bigint, OUT failed bigint, OUT dead_letter bigint, OUT completed bigint,
    OUT cancelled bigint, OUT total bigint, OUT oldest_waiting interval
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT live.pending, live.processing, live.failed, live.dead_letter, done.completed, done.cancelled,
           live.total + done.completed + done.cancelled, live.oldest_waiting
      FROM tds_count_finished() AS done,
           (SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
                   count(*) FILTER (WHERE status = 'processing') AS processing,
                   count(*) FILTER (WHERE status = 'failed') AS failed,
                   count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter, count(*) AS total,
                   now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed')) AS oldest_waiting
              FROM tds_sync_queue_live) AS live
$$;

CREATE OR REPLACE FUNCTION tds_get_health_summary() RETURNS jsonb LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH counted AS (
        SELECT * FROM tds_get_queue_statistics()
    ), ended AS MATERIALIZED (
        SELECT (SELECT f.completed FROM tds_count_finished(now() - interval '24 hours') AS f) AS completed,
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
