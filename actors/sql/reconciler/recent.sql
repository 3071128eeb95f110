-- The newest reports before id $1, of an entity or status where one is given. Relies on the primary key. $4 limit
SELECT
--+ reconciler/columns
  FROM tds_reconciliation_reports AS r
 WHERE ($1::bigint IS NULL OR r.id < $1) AND ($2::text IS NULL OR r.entity_type = $2)
   AND ($3::text IS NULL OR r.status = $3)
 ORDER BY r.id DESC
 LIMIT $4
