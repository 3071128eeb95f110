-- Keys of an entity's documents that no mapping knows, the most frequent first.
SELECT key, seen, first_seen_at, last_seen_at FROM tds_source_drift WHERE entity_type = $1 ORDER BY seen DESC, key LIMIT 200;
