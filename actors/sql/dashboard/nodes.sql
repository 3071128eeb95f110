-- Nodes whose lease holds, and the newest round of the healer. The table of nodes is small.
SELECT count(*) FILTER (WHERE stopped_at IS NULL AND now() - renewed_at BETWEEN - lease AND lease) AS alive,
       count(*) FILTER (WHERE stopped_at IS NULL AND NOT now() - renewed_at BETWEEN - lease AND lease) AS lost,
       (SELECT max(healed_at) FROM tds_healer_runs) AS healed_at
  FROM tds_nodes
