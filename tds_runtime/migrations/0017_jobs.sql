-- Bulk actions that a person asked for: one row each, carried out a portion at a time. Each portion commits with its place,
-- so a kill repeats nothing and leaves nothing out, and a cancelled job changes nothing more.

CREATE TABLE tds_jobs (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('dead_letter.retry', 'dead_letter.discard', 'inbox.replay')),
    selection      jsonb NOT NULL,
    status         text NOT NULL DEFAULT 'pending'
                   CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    requested_by   text NOT NULL,
    reason         text NOT NULL DEFAULT '',
    correlation_id text NOT NULL DEFAULT '',
    requested_at   timestamptz NOT NULL DEFAULT now(),
    started_at     timestamptz,
    completed_at   timestamptz,                -- also when it failed or was cancelled
    matched        bigint NOT NULL,            -- counted when it was asked for
    last_id        bigint NOT NULL,            -- the newest that matched then: what comes later is not of this job
    position       bigint NOT NULL DEFAULT 0,  -- the newest id that was looked at
    looked_at      bigint NOT NULL DEFAULT 0,
    changed        bigint NOT NULL DEFAULT 0,
    locked_by      text,
    fence          bigint NOT NULL DEFAULT 0,
    attempt_count  integer NOT NULL DEFAULT 0, -- since its last portion
    error_code     text,
    error_message  text
) WITH (fillfactor = 70);
CREATE INDEX tds_jobs_open ON tds_jobs (status, id) WHERE status IN ('pending', 'running');
CREATE INDEX tds_jobs_requested ON tds_jobs (requested_at);
