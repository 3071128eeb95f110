-- Alerts that are told: what was seen and is not judged yet, how the judging stands, who was or was not told and why.

ALTER TABLE tds_alerts
    ADD COLUMN rule text NOT NULL DEFAULT '',              -- of [alert.NAME]; '' for what healer and reconciler find
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN runbook text NOT NULL DEFAULT '',
    ADD COLUMN first_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN acknowledged_until timestamptz,
    ADD COLUMN notified_at timestamptz,                    -- when people were told first, or again after an acknowledgement
    ADD COLUMN escalation_level integer NOT NULL DEFAULT 0,
    ADD COLUMN muted text NOT NULL DEFAULT '',             -- why nobody is told at present
    ADD COLUMN settled boolean NOT NULL DEFAULT false;     -- resolved, and whoever was told of it was told that as well
UPDATE tds_alerts SET settled = true, first_seen_at = created_at WHERE resolved_at IS NOT NULL;
UPDATE tds_alerts SET first_seen_at = created_at WHERE resolved_at IS NULL;
CREATE INDEX tds_alerts_unsettled ON tds_alerts (id) WHERE NOT settled;

-- What happened to each alert, in order; also why nobody was told.
CREATE TABLE tds_alert_events (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL REFERENCES tds_alerts (id) ON DELETE CASCADE,
    at       timestamptz NOT NULL DEFAULT now(),
    kind     text NOT NULL,
    detail   text NOT NULL DEFAULT '',
    actor    text NOT NULL DEFAULT ''
);
CREATE INDEX tds_alert_events_alert ON tds_alert_events (alert_id, id);

-- Whoever opens, raises, acknowledges or resolves an alert, be it with psql: its log says so.
CREATE FUNCTION tds_note_alert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tds_alert_events (alert_id, at, kind, detail)
        VALUES (NEW.id, NEW.created_at, 'opened', NEW.severity || ': ' || NEW.title);
        RETURN NULL;
    END IF;
    IF NEW.severity <> OLD.severity THEN
        INSERT INTO tds_alert_events (alert_id, kind, detail)
        VALUES (NEW.id, 'severity_changed', OLD.severity || ' -> ' || NEW.severity);
    END IF;
    IF NEW.acknowledged AND NOT OLD.acknowledged THEN
        INSERT INTO tds_alert_events (alert_id, at, kind, detail, actor)
        VALUES (NEW.id, COALESCE(NEW.acknowledged_at, now()), 'acknowledged', COALESCE(NEW.comment, ''),
                COALESCE(NEW.acknowledged_by, ''));
    END IF;
    IF NEW.resolved_at IS NOT NULL AND OLD.resolved_at IS NULL THEN
        INSERT INTO tds_alert_events (alert_id, at, kind) VALUES (NEW.id, NEW.resolved_at, 'resolved');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tds_alerts_noted AFTER INSERT OR UPDATE OF severity, acknowledged, resolved_at ON tds_alerts
    FOR EACH ROW EXECUTE FUNCTION tds_note_alert();

-- What nodes have seen that rules ask for, until the one that judges has taken it. A batch that is sent twice is one.
CREATE TABLE tds_alert_observations (
    boot_id  text NOT NULL,
    batch    bigint NOT NULL,
    body     jsonb NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (boot_id, batch)
);

-- How the judging of a rule stands: its windows, what is pending and what fires.
CREATE TABLE tds_alert_states (
    rule       text PRIMARY KEY,
    state      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- What was told together: the alerts of one route that have the same group key.
CREATE TABLE tds_alert_groups (
    route       text NOT NULL,
    group_key   text NOT NULL,
    first_at    timestamptz NOT NULL,
    notified_at timestamptz,
    told        bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (route, group_key)
);

-- The outbox. Every row ends as sent, failed or suppressed with its reason.
CREATE TABLE tds_notifications (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel       text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('firing', 'repeat', 'escalation', 'resolved', 'summary')),
    route         text NOT NULL DEFAULT '',
    group_key     text NOT NULL DEFAULT '',
    alert_ids     bigint[] NOT NULL DEFAULT '{}',
    letter        jsonb NOT NULL,
    status        text NOT NULL CHECK (status IN ('pending', 'sent', 'failed', 'suppressed')),
    reason        text NOT NULL DEFAULT '',
    attempt_count integer NOT NULL DEFAULT 0,
    in_doubt      boolean NOT NULL DEFAULT false,          -- an attempt began, and nobody knows how it ended
    created_at    timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    ended_at      timestamptz,
    summarized    boolean NOT NULL DEFAULT false
);
CREATE INDEX tds_notifications_pending ON tds_notifications (channel, id) WHERE status = 'pending';
CREATE INDEX tds_notifications_recent ON tds_notifications (created_at);
CREATE INDEX tds_notifications_held ON tds_notifications (channel) WHERE status = 'suppressed' AND NOT summarized;

CREATE TABLE tds_silences (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    matchers   jsonb NOT NULL,
    author     text NOT NULL CHECK (author <> ''),
    comment    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX tds_silences_expiry ON tds_silences (expires_at);
