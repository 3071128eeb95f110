-- The newest answer's word on the day's budget, and what was left when the day was first looked at ($6, at $7).
INSERT INTO tds_upstreams AS u (
    name, budget_limit, budget_remaining, budget_resets_at, budget_observed_at, budget_first_remaining, budget_first_at)
VALUES ($1, $2, $3, to_timestamp($4::float8), to_timestamp($5::float8), $6,
        CASE WHEN $7::float8 > 0 THEN to_timestamp($7::float8) END)
ON CONFLICT (name) DO UPDATE
   SET budget_limit = EXCLUDED.budget_limit, budget_remaining = EXCLUDED.budget_remaining,
       budget_resets_at = EXCLUDED.budget_resets_at, budget_observed_at = EXCLUDED.budget_observed_at,
       budget_first_remaining = EXCLUDED.budget_first_remaining, budget_first_at = EXCLUDED.budget_first_at,
       updated_at = clock_timestamp()
 WHERE u.budget_observed_at IS NULL OR u.budget_observed_at <= EXCLUDED.budget_observed_at;
