-- What the levels of one day ($1) were, again for a day that goes on. $2 levels, $3 values, $4 targets, $5 met, $6 samples
INSERT INTO tds_service_levels AS l (day, level, value, target, met, sample)
SELECT $1::date, * FROM unnest($2::text[], $3::float8[], $4::float8[], $5::boolean[], $6::bigint[])
ON CONFLICT (day, level) DO UPDATE SET
    value = EXCLUDED.value, target = EXCLUDED.target, met = EXCLUDED.met, sample = EXCLUDED.sample, updated_at = now()
