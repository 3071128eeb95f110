-- Whatever a slot of a schedule asks for leaves a row that commits with it: a run, a report, or now a healing too. One view
-- shows them alike, so that overlap, timeout, failure and grace are told in one way.

-- Which term of which leader decided a slot; NULL for the slots of earlier versions.
ALTER TABLE tds_slots ADD epoch bigint;

-- When the schedule's slots were last named differently: what was no slot then is not caught up. '' fits whatever is configured.
CREATE TABLE tds_schedules (
    name   text PRIMARY KEY,
    timing text NOT NULL,
    since  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tds_schedules (name, timing) SELECT DISTINCT schedule, '' FROM tds_slots;

-- How long a run was put off by an outage or a spent budget; its schedule's timeout does not count that.
ALTER TABLE tds_sync_runs ADD put_off interval NOT NULL DEFAULT '0';

-- A round of the healer is asked for, begun and ended like a run; rows of earlier versions have ended.
ALTER TABLE tds_healer_runs
    ALTER stuck_tasks_recovered SET DEFAULT 0,
    ALTER dlq_items_retried SET DEFAULT 0,
    ALTER alerts_created SET DEFAULT 0,
    ADD status text NOT NULL DEFAULT 'completed' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    ADD requested_by text NOT NULL DEFAULT '',
    ADD schedule text,
    ADD slot timestamptz,
    ADD requested_at timestamptz NOT NULL DEFAULT now(),
    ADD started_at timestamptz,
    ADD completed_at timestamptz,
    ADD locked_by text,
    ADD error_message text;
CREATE INDEX tds_healer_runs_open ON tds_healer_runs (status, id) WHERE status IN ('pending', 'running');

CREATE INDEX tds_sync_runs_slot ON tds_sync_runs (schedule, slot) WHERE schedule IS NOT NULL AND parent_id IS NULL;
CREATE INDEX tds_reconciliation_reports_slot ON tds_reconciliation_reports (schedule, slot) WHERE schedule IS NOT NULL;
CREATE INDEX tds_healer_runs_slot ON tds_healer_runs (schedule, slot) WHERE schedule IS NOT NULL;

CREATE VIEW tds_scheduled_work AS
SELECT schedule, slot, 'run'::text AS work, id, status, requested_at, started_at, completed_at, put_off,
       COALESCE(error_message, '') AS error
  FROM tds_sync_runs WHERE schedule IS NOT NULL AND parent_id IS NULL
UNION ALL
SELECT schedule, slot, 'report'::text, id, status, requested_at, started_at, completed_at, interval '0',
       COALESCE(error_message, '')
  FROM tds_reconciliation_reports WHERE schedule IS NOT NULL
UNION ALL
SELECT schedule, slot, 'healing'::text, id, status, requested_at, started_at, completed_at, interval '0',
       COALESCE(error_message, '')
  FROM tds_healer_runs WHERE schedule IS NOT NULL;
