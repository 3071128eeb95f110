-- What a day brought beside the counts of the queue. Relies on tds_sum_up_finished and the BRIN index on received_at.
SELECT (SELECT f.completed FROM tds_count_finished(now() - interval '24 hours') AS f) AS completed,
       (SELECT count(*) FROM tds_dead_letter_queue
         WHERE resolved_at IS NULL AND buried_at > now() - interval '24 hours') AS dead_lettered,
       (SELECT count(*) FROM tds_alerts WHERE resolved_at IS NULL) AS active_alerts,
       (SELECT count(*) FROM tds_inbox_events WHERE received_at > now() - interval '24 hours') AS webhooks,
       ARRAY(SELECT name FROM tds_upstreams
              WHERE breaker_state <> 'closed' AND name NOT LIKE 'channel:%' ORDER BY name) AS sources_down
