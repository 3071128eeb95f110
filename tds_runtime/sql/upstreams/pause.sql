-- Nobody calls for $2 seconds; a pause that lasts longer stays.
INSERT INTO tds_upstreams AS u (name, paused_until, pause_reason)
VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second', $3)
ON CONFLICT (name) DO UPDATE
   SET paused_until = EXCLUDED.paused_until, pause_reason = EXCLUDED.pause_reason, updated_at = clock_timestamp()
 WHERE u.paused_until IS NULL OR u.paused_until < EXCLUDED.paused_until;
