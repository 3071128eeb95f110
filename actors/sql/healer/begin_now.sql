-- A round that nobody has asked for in a row. $1 boot id, $2 node, $3 requested_by
INSERT INTO tds_healer_runs (status, locked_by, node, requested_by, started_at)
VALUES ('running', $1, $2, $3, now())
RETURNING id
