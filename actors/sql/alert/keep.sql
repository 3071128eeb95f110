-- Opens an alert for each finding that has none, renews those that have one, and resolves the causes that are named.
-- Returns the new ones. Relies on the unique index of open alerts: whoever finds a cause, it has one alert.
-- $1 findings, $2 causes that are over (both JSON), $3 now
WITH found AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS f (
        alert_type text, severity text, cause text, title text, message text, metadata jsonb, labels jsonb, rule text,
        runbook text, seen bigint, first_seen_at timestamptz, last_seen_at timestamptz)
), over AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS o (alert_type text, cause text)
), opened AS (
    INSERT INTO tds_alerts AS a (alert_type, severity, cause, title, message, metadata, labels, rule, runbook, occurrences,
                                 created_at, first_seen_at, last_seen_at)
    SELECT alert_type, severity, cause, title, COALESCE(message, ''), COALESCE(metadata, '{}'), COALESCE(labels, '{}'),
           COALESCE(rule, ''), COALESCE(runbook, ''), COALESCE(seen, 1), $3::timestamptz,
           COALESCE(first_seen_at, $3), COALESCE(last_seen_at, $3)
      FROM found ORDER BY alert_type, cause
    ON CONFLICT (alert_type, cause) WHERE resolved_at IS NULL DO UPDATE
       SET severity = excluded.severity, title = excluded.title, message = excluded.message,
           metadata = excluded.metadata, labels = excluded.labels, rule = excluded.rule, runbook = excluded.runbook,
           occurrences = a.occurrences + excluded.occurrences,
           last_seen_at = GREATEST(a.last_seen_at, excluded.last_seen_at)
    RETURNING a.id, a.alert_type, a.severity, a.title, a.cause, a.xmax = 0 AS is_new
), resolved AS (
    UPDATE tds_alerts AS a SET resolved_at = $3::timestamptz
      FROM over AS o
     WHERE a.resolved_at IS NULL AND a.alert_type = o.alert_type AND a.cause = o.cause
)
SELECT id, alert_type, severity, title, cause FROM opened WHERE is_new ORDER BY id
