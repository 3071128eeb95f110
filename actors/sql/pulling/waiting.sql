-- Detail calls that wait in the queue, by entity: promised calls of the day that nobody has made yet.
SELECT entity_type, count(*) AS calls
  FROM tds_sync_queue_live
 WHERE operation = 'fetch' AND status IN ('pending', 'processing', 'failed')
 GROUP BY entity_type;
