-- Per entity: how many tasks are in each state that is not finished, and since when the oldest has waited.
-- Relies on the live leaf being small: finished tasks are elsewhere.
SELECT entity_type,
       count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'processing') AS processing,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
       extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE status = 'pending' AND available_at IS NULL))::float8
           AS oldest_seconds
  FROM tds_sync_queue_live
 GROUP BY entity_type
 ORDER BY entity_type
