-- Shared clause: what `waiting` and `fetching` found, without the paused.
SELECT entity_type, 'upsert' AS operation FROM waiting
 WHERE entity_type IS NOT NULL
   AND entity_type NOT IN (SELECT entity_type FROM tds_pauses WHERE until IS NULL OR until > now())
UNION ALL
SELECT entity_type, 'fetch' FROM fetching
