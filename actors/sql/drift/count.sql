-- Adds up how often keys were seen that no mapping knows. Keys come in order, so that two nodes never wait for each other
-- in a circle. $1 entity, $2 keys, $3 documents that had each
INSERT INTO tds_source_drift AS d (entity_type, key, seen)
SELECT $1, s.key, s.seen FROM unnest($2::text[], $3::bigint[]) AS s (key, seen) ORDER BY s.key
ON CONFLICT (entity_type, key) DO UPDATE SET seen = d.seen + EXCLUDED.seen, last_seen_at = now();
