-- Tasks finished in the last 24 hours. Relies on the day partitions: at most two are read.
SELECT count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status = 'cancelled') AS cancelled
  FROM tds_sync_queue_done
 WHERE completed_at > now() - interval '24 hours'
