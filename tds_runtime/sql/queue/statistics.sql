-- Every status over the whole retention: one pass over the small live leaf, one over the finished days.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'processing') AS processing,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
       min(done.completed) AS completed,
       min(done.cancelled) AS cancelled,
       COALESCE(EXTRACT(epoch FROM now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed'))), 0)::float8
           AS oldest_waiting
  FROM (SELECT count(*) FILTER (WHERE status = 'completed') AS completed,
               count(*) FILTER (WHERE status = 'cancelled') AS cancelled
          FROM tds_sync_queue_done) AS done
  LEFT JOIN tds_sync_queue_live ON true;
