-- The last $1 days that are kept, the newest first. Relies on the primary key.
SELECT day, level, value, target, met, sample
  FROM tds_service_levels WHERE day > (now() AT TIME ZONE 'UTC')::date - $1::integer
 ORDER BY day DESC, level
