-- The heartbeat. Leases are judged by the database's clock alone.
-- $1 boot_id, $2 name, $3 host, $4 pid, $5 process, $6 version, $7 lease in seconds
INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease)
VALUES ($1, $2, $3, $4, $5, $6, $7::float8 * interval '1 second')
ON CONFLICT (boot_id) DO UPDATE SET renewed_at = now(), stopped_at = NULL;
