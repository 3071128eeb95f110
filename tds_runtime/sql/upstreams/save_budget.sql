-- The newest answer's word on the day's budget.
INSERT INTO tds_upstreams AS u (name, budget_limit, budget_remaining, budget_resets_at, budget_observed_at)
VALUES ($1, $2, $3, to_timestamp($4::float8), to_timestamp($5::float8))
ON CONFLICT (name) DO UPDATE
   SET budget_limit = EXCLUDED.budget_limit, budget_remaining = EXCLUDED.budget_remaining,
       budget_resets_at = EXCLUDED.budget_resets_at, budget_observed_at = EXCLUDED.budget_observed_at,
       updated_at = clock_timestamp()
 WHERE u.budget_observed_at IS NULL OR u.budget_observed_at <= EXCLUDED.budget_observed_at;
