-- What the healer has put right so far, and its newest round. The table has a row for each round.
SELECT count(*) AS rounds,
       coalesce(sum(stuck_tasks_recovered), 0)::bigint AS stuck_tasks_recovered,
       coalesce(sum(dlq_items_retried), 0)::bigint AS dlq_items_retried,
       coalesce(sum(alerts_created), 0)::bigint AS alerts_created,
       (SELECT to_jsonb(newest)::text
          FROM (SELECT healed_at AS timestamp, node, stuck_tasks_recovered, dlq_items_retried, alerts_created, details
                  FROM tds_healer_runs WHERE status = 'completed' ORDER BY id DESC LIMIT 1) AS newest) AS last_run
  FROM tds_healer_runs
 WHERE status = 'completed'
