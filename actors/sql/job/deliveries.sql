-- The next portion of a job's ids, oldest first. Relies on the primary key. $7 ids above, $8 up to, $9 how many
SELECT e.id
  FROM tds_inbox_events AS e
 WHERE
--+ job/deliveries_chosen
   AND e.id > $7 AND e.id <= $8
 ORDER BY e.id
 LIMIT $9
