-- Whether there is anything to do, and the time by which it is done. Relies on partial indexes: it costs next to nothing.
-- $1 lease of a node in seconds
SELECT now() AS now,
       EXISTS (SELECT FROM tds_alert_observations) AS observed,
       EXISTS (SELECT FROM tds_alerts WHERE NOT settled) OR EXISTS (SELECT FROM tds_alert_groups) AS unsettled,
       EXISTS (SELECT FROM tds_notifications WHERE status = 'pending') AS pending,
       EXISTS (SELECT FROM tds_notifications WHERE status = 'suppressed' AND NOT summarized) AS held,
       (SELECT count(*) FROM tds_nodes
         WHERE stopped_at IS NULL AND renewed_at > now() - $1::float8 * interval '1 second') AS nodes
