-- How many a bulk action would touch; asked before it is done.
SELECT count(*) FROM tds_dead_letter_queue AS l
 WHERE
--+ queue/selected
;
