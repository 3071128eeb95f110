-- What people and schedules look at: alerts, samples of metrics, who may ask, and which slots of which schedule ran.

CREATE TABLE tds_alerts (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_type      text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    title           text NOT NULL,
    message         text NOT NULL DEFAULT '',
    metadata        jsonb NOT NULL DEFAULT '{}',
    -- One cause has one open alert, whoever notices it and how often.
    cause           text NOT NULL,
    occurrences     bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    acknowledged    boolean NOT NULL DEFAULT false,
    acknowledged_by text,
    acknowledged_at timestamptz,
    comment         text,
    resolved_at     timestamptz
);
CREATE UNIQUE INDEX tds_alerts_open ON tds_alerts (alert_type, cause) WHERE resolved_at IS NULL;
CREATE INDEX tds_alerts_created ON tds_alerts (created_at);

CREATE TABLE tds_metrics (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    metric_name  text NOT NULL,
    metric_value double precision NOT NULL,
    labels       jsonb NOT NULL DEFAULT '{}',
    node         text NOT NULL DEFAULT '',
    resolution   text NOT NULL DEFAULT 'raw' CHECK (resolution IN ('raw', 'hour')),
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tds_metrics_series ON tds_metrics (metric_name, recorded_at);
CREATE INDEX tds_metrics_age ON tds_metrics (resolution, recorded_at);
CREATE UNIQUE INDEX tds_metrics_hours ON tds_metrics (metric_name, labels, node, recorded_at) WHERE resolution = 'hour';

CREATE TABLE tds_tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name <> ''),
    -- SHA-256 of the token; the token itself is shown once, when it is made.
    digest       bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    role         text NOT NULL CHECK (role IN ('viewer', 'operator')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL DEFAULT '',
    expires_at   timestamptz,
    revoked_at   timestamptz
);

CREATE TABLE tds_slots (
    schedule   text NOT NULL,
    slot       timestamptz NOT NULL,
    outcome    text NOT NULL,
    run_id     bigint,
    decided_at timestamptz NOT NULL DEFAULT now(),
    detail     text NOT NULL DEFAULT '',
    PRIMARY KEY (schedule, slot)
);
CREATE INDEX tds_slots_decided ON tds_slots (decided_at);

CREATE TABLE tds_healer_runs (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node                  text NOT NULL DEFAULT '',
    healed_at             timestamptz NOT NULL DEFAULT now(),
    stuck_tasks_recovered integer NOT NULL,
    dlq_items_retried     integer NOT NULL,
    alerts_created        integer NOT NULL,
    details               jsonb NOT NULL DEFAULT '{}'
);

-- Drops the days of finished tasks that ended longer ago than `keep`; returns how many. A day that is being read is left
-- for the next time, so that nobody waits behind this.
CREATE FUNCTION tds_drop_partitions(keep interval DEFAULT '14 days') RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7305801316121089635);
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
    RETURN dropped;
END
$$;
