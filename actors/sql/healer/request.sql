-- Asks for a round; it waits for whichever healer looks first. $1 requested_by, $2 schedule, $3 slot
INSERT INTO tds_healer_runs (status, requested_by, schedule, slot) VALUES ('pending', $1, $2, $3) RETURNING id
