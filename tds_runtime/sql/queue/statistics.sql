-- Every status over the whole retention: one pass over the small live leaf; what is finished was counted before, but for
-- the last minutes. Relies on tds_sum_up_finished being called now and then.
SELECT live.*, done.completed, done.cancelled
  FROM tds_count_finished() AS done,
       (SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
               count(*) FILTER (WHERE status = 'processing') AS processing,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
               COALESCE(EXTRACT(epoch FROM now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed'))), 0)::float8
                   AS oldest_waiting
          FROM tds_sync_queue_live) AS live;
