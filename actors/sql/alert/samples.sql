-- The newest sample of each series of the other nodes. $1 names, $2 this node, $3 age in seconds
SELECT DISTINCT ON (metric_name, labels, node) metric_name, metric_value, labels::text AS labels, node
  FROM tds_metrics
 WHERE metric_name = ANY($1::text[]) AND recorded_at > now() - $3::float8 * interval '1 second'
   AND node <> $2 AND resolution = 'raw'
 ORDER BY metric_name, labels, node, recorded_at DESC
