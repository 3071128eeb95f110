-- Take or keep the lead; no row means that another node leads. A new term is a new epoch.
-- $1 name, $2 boot_id, $3 lease in seconds
INSERT INTO tds_leaders AS l (name, boot_id, epoch, lease) VALUES ($1, $2, 1, $3::float8 * interval '1 second')
ON CONFLICT (name) DO UPDATE SET
    epoch = CASE WHEN l.boot_id = EXCLUDED.boot_id THEN l.epoch ELSE l.epoch + 1 END,
    acquired_at = CASE WHEN l.boot_id = EXCLUDED.boot_id THEN l.acquired_at ELSE now() END,
    boot_id = EXCLUDED.boot_id, lease = EXCLUDED.lease, renewed_at = now()
 WHERE l.boot_id = EXCLUDED.boot_id OR now() - l.renewed_at NOT BETWEEN - l.lease AND l.lease
RETURNING epoch;
