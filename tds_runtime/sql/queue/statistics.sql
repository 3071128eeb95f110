-- Every status over the whole retention. Live statuses come from the partial indexes and the small leaf.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'processing') AS processing,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
       (SELECT count(*) FROM tds_sync_queue_done WHERE status = 'completed') AS completed,
       (SELECT count(*) FROM tds_sync_queue_done WHERE status = 'cancelled') AS cancelled,
       COALESCE(EXTRACT(epoch FROM now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed'))), 0)::float8
           AS oldest_waiting
  FROM tds_sync_queue_live;
