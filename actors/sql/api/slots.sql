-- The newest decided slot of each schedule ($1 names). Relies on the primary key (schedule, slot).
SELECT name AS schedule, slot, outcome, detail, run_id
  FROM unnest($1::text[]) AS name
 CROSS JOIN LATERAL (
       SELECT slot, outcome, detail, run_id FROM tds_slots WHERE schedule = name ORDER BY slot DESC LIMIT 1) AS newest
