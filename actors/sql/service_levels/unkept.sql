-- The UTC days whose levels are not final: from the last one that is kept, or from the first minute on, to today; at most
-- the last $1, for what they are told from is not kept for longer.
SELECT day::date AS day
  FROM generate_series(
        GREATEST(
            COALESCE((SELECT max(day) FROM tds_service_levels)::timestamp,
                     date_trunc('day', (SELECT min(minute) FROM tds_available_minutes) AT TIME ZONE 'UTC'),
                     date_trunc('day', now() AT TIME ZONE 'UTC')),
            date_trunc('day', now() AT TIME ZONE 'UTC') - $1::integer * interval '1 day'),
        date_trunc('day', now() AT TIME ZONE 'UTC'), interval '1 day') AS day
 ORDER BY day
