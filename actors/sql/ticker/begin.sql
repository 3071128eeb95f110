-- From now on the slots of a schedule ($1) are these ($2).
INSERT INTO tds_schedules (name, timing) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET timing = EXCLUDED.timing, since = now()
