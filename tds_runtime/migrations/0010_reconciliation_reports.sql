-- Reports of comparisons: one row a report, one an entity of it (tds_reconciliations, as before), and what did not match,
-- record by record, up to a number; the rows of the entities hold the full counts.

CREATE TABLE tds_reconciliation_reports (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_type      text NOT NULL,              -- 'all' is every entity
    depth            text NOT NULL CHECK (depth IN ('counts', 'records')),
    repair           boolean NOT NULL DEFAULT false,
    status           text NOT NULL DEFAULT 'pending'
                     CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    requested_by     text NOT NULL DEFAULT '',
    reason           text NOT NULL DEFAULT '',
    schedule         text,
    slot             timestamptz,
    correlation_id   text NOT NULL DEFAULT '',
    requests         integer NOT NULL DEFAULT 1, -- how many asked for it before it began
    requested_at     timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    completed_at     timestamptz,                -- also when it failed or was cancelled
    locked_by        text,
    fence            bigint NOT NULL DEFAULT 0,
    attempt_count    integer NOT NULL DEFAULT 0,
    entities         integer NOT NULL DEFAULT 0, -- how many are to be compared, and how many of these are stored
    compared         integer NOT NULL DEFAULT 0,
    current_entity   text NOT NULL DEFAULT '',   -- the one in hand: records seen, of so many that its source counted
    seen             bigint NOT NULL DEFAULT 0,
    expected         bigint,
    match_percentage double precision CHECK (match_percentage BETWEEN 0 AND 100),
    error_code       text,
    error_message    text
) WITH (fillfactor = 80);
CREATE INDEX tds_reconciliation_reports_open ON tds_reconciliation_reports (status, id)
    WHERE status IN ('pending', 'running');
-- A thousand people who press the same button ask for one report; a slot of a schedule always has its own.
CREATE UNIQUE INDEX tds_reconciliation_reports_waiting ON tds_reconciliation_reports (entity_type, depth, repair)
    WHERE status = 'pending' AND attempt_count = 0 AND schedule IS NULL;
CREATE INDEX tds_reconciliation_reports_requested ON tds_reconciliation_reports (requested_at);

-- Both sides of one entity. Percentages are of matched among matched, missing, extra and different; what is in flight is on
-- neither side of checksums and sums.
ALTER TABLE tds_reconciliations
    ADD report_id       bigint REFERENCES tds_reconciliation_reports ON DELETE CASCADE,
    ADD depth           text NOT NULL DEFAULT 'counts' CHECK (depth IN ('counts', 'records')),
    ADD note            text NOT NULL DEFAULT '',      -- why it is less than was asked for
    ADD counted         bigint,                        -- by the source's count call; NULL where it has none
    ADD matched         bigint,
    ADD missing         bigint,                        -- there and not here
    ADD extra           bigint,                        -- here and not there
    ADD different       bigint,
    ADD in_flight       bigint,                        -- a task for it waits, or it changed meanwhile
    ADD source_sums     jsonb NOT NULL DEFAULT '{}',
    ADD local_sums      jsonb NOT NULL DEFAULT '{}',
    ADD source_checksum text NOT NULL DEFAULT '',
    ADD local_checksum  text NOT NULL DEFAULT '',
    ADD repairs         bigint NOT NULL DEFAULT 0,     -- tasks enqueued to put right what was found
    ADD alarm           text NOT NULL DEFAULT '',      -- too_many_extra: none of them was touched
    ADD seconds         double precision NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX tds_reconciliations_report ON tds_reconciliations (report_id, entity_type);
CREATE INDEX tds_reconciliations_compared ON tds_reconciliations (compared_at);

CREATE TABLE tds_reconciliation_findings (
    report_id        bigint NOT NULL REFERENCES tds_reconciliation_reports ON DELETE CASCADE,
    entity_type      text COLLATE "C" NOT NULL,
    source_entity_id text COLLATE "C" NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('missing', 'extra', 'different', 'in_flight')),
    variant          text NOT NULL DEFAULT '',
    local_id         text,
    differences      jsonb NOT NULL DEFAULT '{}',      -- column to {"source": ..., "local": ...}
    repair           text NOT NULL DEFAULT '',         -- the operation that was enqueued for it
    PRIMARY KEY (report_id, entity_type, source_entity_id)
);
