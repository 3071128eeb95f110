-- A node whose process is gone: what it held can be taken at once, and its fault is over because a successor ($2) is here.
WITH lost AS (
    UPDATE tds_nodes SET stopped_at = now() WHERE boot_id = $1 AND stopped_at IS NULL RETURNING boot_id, renewed_at
)
INSERT INTO tds_faults (kind, subject, node, began_at, ended_at)
SELECT 'node_lost', boot_id, $2, renewed_at, GREATEST(renewed_at, now()) FROM lost
ON CONFLICT DO NOTHING;
