-- Per entity: the tasks that are not finished, by status, and the age of the oldest that waits.
-- Relies on the live leaf being small: finished tasks are elsewhere.
SELECT entity_type,
       count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'processing') AS processing,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
       extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed')))::float8 AS oldest_seconds
  FROM tds_sync_queue_live
 GROUP BY entity_type
