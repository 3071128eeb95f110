-- What service levels are told from, and what they were on each day.

-- Minutes in which deliveries were taken and a write worked, by whichever node: the mark is that write. A minute without a
-- row was none, whatever the reason.
CREATE TABLE tds_available_minutes (
    minute timestamptz PRIMARY KEY,
    node text NOT NULL
);

-- How long finished tasks took, a row a minute, kind, entity and bucket: percentiles over any window, and how many of which
-- entity were completed, without reading the tasks. After two days the healer makes an hour of its minutes.
-- kind: 'delivery' from the first webhook of a task to the transaction that wrote its row; 'processing' from its claim.
CREATE TABLE tds_duration_minutes (
    minute timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('delivery', 'processing')),
    entity_type text COLLATE "C" NOT NULL,
    bucket smallint NOT NULL,
    tasks bigint NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (minute, kind, entity_type, bucket)
);

-- What failed and is over: actors that crashed or were killed until they were ready again, the database away, a node that
-- died until one of its name came back. What people are told of stands in tds_alerts.
CREATE TABLE tds_faults (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('crash', 'killed', 'database_down', 'node_lost')),
    subject text NOT NULL,
    node text NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    UNIQUE (kind, subject, began_at)
);
CREATE INDEX tds_faults_ended ON tds_faults (ended_at);

-- The service levels of each UTC day; `sample` is how many minutes, tasks, slots, ... the figure was told from.
CREATE TABLE tds_service_levels (
    day date NOT NULL,
    level text NOT NULL,
    value double precision NOT NULL,
    target double precision,
    met boolean,
    sample bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, level)
);

CREATE INDEX tds_dead_letter_queue_buried ON tds_dead_letter_queue (buried_at);
-- What people did, between the millions of lines that the daemon writes about records.
CREATE INDEX tds_audit_trail_actions ON tds_audit_trail (occurred_at) WHERE actor <> 'tds-runtime';

-- The bucket of a duration: bucket b holds what took at most 0.001 * 1.1 ^ b seconds, so a figure is right within 10 %.
CREATE FUNCTION tds_duration_bucket(seconds double precision) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN seconds IS NOT NULL
                THEN GREATEST(0, ceil(ln(GREATEST(seconds, 0.001) / 0.001) / ln(1.1::double precision) - 1e-9))::smallint END
$$;

-- Durations of the tasks that were finished in [since, until), counted where they stand in one pass, as tds_finished_between
-- counts. A dead letter that another task made obsolete was never worked off: it keeps its error and is left out.
CREATE FUNCTION tds_durations_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    minute timestamptz, kind text, entity_type text, bucket smallint, tasks bigint, seconds double precision
) LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE '
        SELECT minute, CASE GROUPING(delivery) WHEN 1 THEN ''processing'' ELSE ''delivery'' END, entity_type,
               CASE GROUPING(delivery) WHEN 1 THEN processing ELSE delivery END, count(*),
               CASE GROUPING(delivery) WHEN 1 THEN sum(processed) ELSE sum(delivered) END
          FROM (SELECT date_trunc(''minute'', completed_at) AS minute, entity_type, processed, delivered,
                       tds_duration_bucket(processed) AS processing, tds_duration_bucket(delivered) AS delivery
                  FROM (SELECT completed_at, entity_type,
                               date_part(''epoch'', completed_at - processing_started_at) AS processed,
                               CASE WHEN last_inbox_id IS NOT NULL
                                    THEN date_part(''epoch'', completed_at - enqueued_at) END AS delivered
                          FROM tds_sync_queue_done
                         WHERE completed_at >= $1 AND completed_at < $2 AND status = ''completed'' AND error_code IS NULL
                           AND tableoid <> ''tds_sync_queue_done_default''::regclass) AS done) AS sorted
         GROUP BY GROUPING SETS ((minute, entity_type, processing), (minute, entity_type, delivery))
        HAVING CASE GROUPING(delivery) WHEN 1 THEN processing ELSE delivery END IS NOT NULL' USING since, until;
END
$$;

-- Durations in [since, until) by minute: of the minutes that are summed up, and of the last ones where they stand.
CREATE FUNCTION tds_durations(since timestamptz, until timestamptz)
RETURNS TABLE (
    minute timestamptz, kind text, entity_type text, bucket smallint, tasks bigint, seconds double precision
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT * FROM tds_duration_minutes AS d WHERE d.minute >= date_trunc('minute', since) AND d.minute < until
    UNION ALL
    SELECT f.*
      FROM (SELECT GREATEST(COALESCE(max(m.minute) + interval '1 minute', '-infinity'), since) AS since
              FROM tds_finished_minutes AS m) AS tail,
           tds_durations_between(tail.since, until) AS f
     WHERE tail.since < until
$$;

-- As before, and the durations of the same minutes with it. A minute that is counted again keeps its durations.
CREATE OR REPLACE FUNCTION tds_sum_up_finished() RETURNS bigint
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
    INSERT INTO tds_duration_minutes SELECT * FROM tds_durations_between(summed, reached) ON CONFLICT DO NOTHING;
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
