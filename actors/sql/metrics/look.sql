-- A row for each entity with unfinished tasks: these by status, and the age of the oldest that waits; in each of them, or in one
-- without an entity, how the tasks of a day ended, and the open alerts.
-- Relies on the live leaf being small (finished tasks are elsewhere), and on tds_sum_up_finished being called.
SELECT day.*, queue.*
  FROM (
    SELECT (SELECT f.completed FROM tds_count_finished(now() - interval '24 hours') AS f) AS completed,
           (SELECT count(*) FROM tds_dead_letter_queue
             WHERE resolved_at IS NULL AND buried_at > now() - interval '24 hours') AS dead_lettered,
           count(*) FILTER (WHERE severity = 'info') AS info,
           count(*) FILTER (WHERE severity = 'warning') AS warning,
           count(*) FILTER (WHERE severity = 'error') AS error,
           count(*) FILTER (WHERE severity = 'critical') AS critical
      FROM tds_alerts
     WHERE resolved_at IS NULL
  ) AS day LEFT JOIN (
    SELECT entity_type,
           count(*) FILTER (WHERE status = 'pending') AS pending,
           count(*) FILTER (WHERE status = 'processing') AS processing,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
           extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed')))::float8
               AS oldest_seconds
      FROM tds_sync_queue_live
     GROUP BY entity_type
  ) AS queue ON true;
