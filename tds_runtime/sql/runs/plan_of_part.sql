-- What the run of everything reckoned for one of the runs that it became. $1 its id, $2 entity_type
SELECT (plan -> 'entities' -> $2)::text FROM tds_sync_runs WHERE id = $1;
