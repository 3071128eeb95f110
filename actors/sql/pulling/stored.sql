-- How many living records of an entity (of one source, when it has several) are stored with these facets, and how many of
-- them changed at the source at or after a moment. Relies on the primary key. $1 entity_type, $2 variant ('' is any),
-- $3 facets, $4 moment
SELECT count(*) AS stored, count(*) FILTER (WHERE modified_at >= $4) AS newer
  FROM tds_record_state
 WHERE entity_type = $1 AND tombstoned_at IS NULL AND ($2 = '' OR variant = $2) AND current_facets @> $3::text[];
