-- How the tasks of a day ended, and the open alerts. Relies on tds_sum_up_finished being called.
SELECT (SELECT f.completed FROM tds_count_finished(now() - interval '24 hours') AS f) AS completed,
       (SELECT count(*) FROM tds_dead_letter_queue
         WHERE resolved_at IS NULL AND buried_at > now() - interval '24 hours') AS dead_lettered,
       count(*) FILTER (WHERE severity = 'info') AS info,
       count(*) FILTER (WHERE severity = 'warning') AS warning,
       count(*) FILTER (WHERE severity = 'error') AS error,
       count(*) FILTER (WHERE severity = 'critical') AS critical
  FROM tds_alerts
 WHERE resolved_at IS NULL
