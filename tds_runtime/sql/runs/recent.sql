-- The newest runs before id $1, of an entity, kind or status where one is given, runs of everything as one.
SELECT
--+ runs/columns
  FROM tds_sync_runs AS r
 WHERE ($1::bigint IS NULL OR r.id < $1) AND ($2::text IS NULL OR r.entity_type = $2) AND ($3::text IS NULL OR r.kind = $3)
   AND ($4::text IS NULL OR r.status = $4) AND (r.parent_id IS NULL OR $2::text IS NOT NULL)
 ORDER BY r.id DESC
 LIMIT $5;
