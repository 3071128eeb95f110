-- A person closes a breaker: every node sees the request and closes its own.
UPDATE tds_upstreams
   SET breaker_state = 'closed', breaker_failures = 0, breaker_opened_at = NULL, breaker_reason = '',
       reset_requested_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE name = $1
RETURNING name;
