-- The last word of whichever node changed its breaker; it only matters to who starts next.
INSERT INTO tds_upstreams AS u (name, breaker_state, breaker_failures, breaker_opened_at, breaker_reason)
VALUES ($1, $2, $3, CASE WHEN $4::float8 > 0 THEN to_timestamp($4::float8) END, $5)
ON CONFLICT (name) DO UPDATE
   SET breaker_state = EXCLUDED.breaker_state, breaker_failures = EXCLUDED.breaker_failures,
       breaker_opened_at = EXCLUDED.breaker_opened_at, breaker_reason = EXCLUDED.breaker_reason,
       updated_at = clock_timestamp();
