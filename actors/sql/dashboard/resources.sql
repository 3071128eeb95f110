-- The newest samples of each node of the last ten minutes. $1 names. Relies on tds_metrics_series.
SELECT DISTINCT ON (node, metric_name, labels) node, metric_name, metric_value, labels::text AS labels, recorded_at
  FROM tds_metrics
 WHERE metric_name = ANY($1::text[]) AND recorded_at > now() - interval '10 minutes' AND resolution = 'raw'
 ORDER BY node, metric_name, labels, recorded_at DESC
