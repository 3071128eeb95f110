-- Keeps how the judging of rules stands, and forgets rules that are gone. $1 states by rule (JSON), $2 gone
WITH gone AS (
    DELETE FROM tds_alert_states WHERE rule = ANY($2::text[])
)
INSERT INTO tds_alert_states (rule, state) SELECT key, value FROM jsonb_each($1::jsonb)
ON CONFLICT (rule) DO UPDATE SET state = excluded.state, updated_at = now()
