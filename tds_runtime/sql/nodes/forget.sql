-- Nodes that are gone for a day; their tasks went back long ago.
DELETE FROM tds_nodes WHERE renewed_at < now() - interval '1 day' AND boot_id <> $1;
