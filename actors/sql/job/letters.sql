-- The next portion of a job's ids, oldest first. Relies on the primary key. $7 ids above, $8 up to, $9 how many
SELECT l.id
  FROM tds_dead_letter_queue AS l
 WHERE
--+ job/letters_chosen
   AND l.id > $7 AND l.id <= $8
 ORDER BY l.id
 LIMIT $9
