-- The deliveries of a day by the hour, the present hour last. Relies on the BRIN index on received_at.
SELECT date_trunc('hour', received_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS at, count(*) AS received
  FROM tds_inbox_events WHERE received_at > now() - interval '24 hours'
 GROUP BY 1 ORDER BY 1
