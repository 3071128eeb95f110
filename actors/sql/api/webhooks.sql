-- The deliveries of a day by entity, and the newest one. Relies on the BRIN index on received_at.
SELECT entity_type,
       count(*) AS received,
       count(*) FILTER (WHERE source_entity_id = '') AS unnamed,
       max(received_at) AS last_received_at
  FROM tds_inbox_events
 WHERE received_at > now() - interval '24 hours'
 GROUP BY entity_type
 ORDER BY entity_type
