-- Everything shared, a handful of rows, and how many nodes share it.
SELECT name, breaker_state, breaker_failures, breaker_reason, budget_limit, budget_remaining, pause_reason,
       COALESCE(extract(epoch FROM breaker_opened_at), 0)::float8 AS breaker_opened_at,
       COALESCE(extract(epoch FROM reset_requested_at), 0)::float8 AS reset_requested_at,
       COALESCE(extract(epoch FROM budget_resets_at), 0)::float8 AS budget_resets_at,
       COALESCE(extract(epoch FROM budget_observed_at), 0)::float8 AS budget_observed_at,
       COALESCE(budget_first_remaining, budget_remaining) AS budget_first_remaining,
       COALESCE(extract(epoch FROM COALESCE(budget_first_at, budget_observed_at)), 0)::float8 AS budget_first_at,
       GREATEST(COALESCE(extract(epoch FROM paused_until - clock_timestamp()), 0), 0)::float8 AS paused,
       (SELECT count(*) FROM tds_nodes
         WHERE stopped_at IS NULL AND now() - renewed_at BETWEEN -lease AND lease) AS nodes
  FROM tds_upstreams
 ORDER BY name;
