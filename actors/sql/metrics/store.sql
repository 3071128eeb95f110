-- One look: names, values, labels (JSON), and the node that looked.
INSERT INTO tds_metrics (metric_name, metric_value, labels, node)
SELECT name, value, labels::jsonb, $4
  FROM unnest($1::text[], $2::float8[], $3::text[]) AS sample (name, value, labels)
