-- Alerts that people acknowledged in [$1, $2), and those they were told of and have left alone for longer than $3 seconds,
-- which count as they stand; one that ended before anybody came counts not at all.
SELECT count(*) AS alerts, COALESCE(avg(extract(epoch FROM waited)), 0)::float8 AS seconds
  FROM (SELECT acknowledged_at - created_at AS waited
          FROM tds_alerts WHERE acknowledged_at >= $1 AND acknowledged_at < $2
        UNION ALL
        SELECT $2 - created_at
          FROM tds_alerts
         WHERE acknowledged_at IS NULL AND notified_at IS NOT NULL AND severity <> 'info'
           AND created_at < $2 - $3::float8 * interval '1 second' AND (resolved_at IS NULL OR resolved_at >= $2)
       ) AS alert
