-- How the judging of each rule stands.
SELECT rule, state::text AS state FROM tds_alert_states
