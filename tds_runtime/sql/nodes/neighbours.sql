-- Nodes that should be processes of this very machine and pid namespace. $1 host, $2 own boot_id
SELECT boot_id, pid, process FROM tds_nodes WHERE host = $1 AND boot_id <> $2 AND stopped_at IS NULL;
