-- How many a job would look at, and the newest of them; asked before it is one.
SELECT count(*) AS matched, COALESCE(max(e.id), 0) AS last_id
  FROM tds_inbox_events AS e
 WHERE
--+ job/deliveries_chosen
