-- Records stored here that a complete listing did not see, and how many are stored. Records first seen after the run began
-- are none of its business. $1 run, $2 entity_type, $3 variant ('' is any), $4 most
WITH seen AS MATERIALIZED (
    SELECT DISTINCT unnest(ids) AS id FROM tds_sync_run_pages WHERE run_id = $1 AND variant = $3
), stored AS (
    SELECT s.source_entity_id, s.observed_at
      FROM tds_record_state AS s
     WHERE s.entity_type = $2 AND s.tombstoned_at IS NULL AND ($3 = '' OR s.variant = $3)
)
SELECT (SELECT count(*) FROM stored) AS stored,
       ARRAY(
           SELECT stored.source_entity_id
             FROM stored
             LEFT JOIN seen ON seen.id = stored.source_entity_id
            WHERE seen.id IS NULL
              AND stored.observed_at < (SELECT started_at FROM tds_sync_runs WHERE id = $1)
            ORDER BY stored.source_entity_id
            LIMIT $4
       ) AS missing;
