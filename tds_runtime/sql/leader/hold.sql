-- Take or keep the lead; a new term is a new epoch. No row means that another node leads, or is in the middle of a write as the
-- leader: nobody waits for one that was frozen there. In a transaction the row stays locked until it ends.
-- $1 name, $2 boot_id, $3 lease in seconds
WITH free AS MATERIALIZED (
    SELECT FROM tds_leaders WHERE name = $1 FOR UPDATE SKIP LOCKED
)
INSERT INTO tds_leaders AS l (name, boot_id, epoch, lease)
SELECT $1, $2, 1, $3::float8 * interval '1 second'
 WHERE EXISTS (SELECT FROM free) OR NOT EXISTS (SELECT FROM tds_leaders WHERE name = $1)
ON CONFLICT (name) DO UPDATE SET
    epoch = CASE WHEN l.boot_id = EXCLUDED.boot_id THEN l.epoch ELSE l.epoch + 1 END,
    acquired_at = CASE WHEN l.boot_id = EXCLUDED.boot_id THEN l.acquired_at ELSE now() END,
    boot_id = EXCLUDED.boot_id, lease = EXCLUDED.lease, renewed_at = now()
 WHERE l.boot_id = EXCLUDED.boot_id OR now() - l.renewed_at NOT BETWEEN - l.lease AND l.lease
RETURNING epoch;
