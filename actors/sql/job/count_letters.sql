-- How many a job would look at, and the newest of them; asked before it is one.
SELECT count(*) AS matched, COALESCE(max(l.id), 0) AS last_id
  FROM tds_dead_letter_queue AS l
 WHERE
--+ job/letters_chosen
