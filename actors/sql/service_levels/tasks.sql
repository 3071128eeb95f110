-- Tasks that were completed in [$1, $2), and those that became dead letters, each once however often it was buried.
-- Relies on tds_sum_up_finished being called, and on tds_dead_letter_queue_buried.
SELECT (SELECT a.completed FROM tds_count_finished($1::timestamptz) AS a)
       - (SELECT b.completed FROM tds_count_finished(GREATEST($1, $2::timestamptz)) AS b) AS completed,
       (SELECT count(DISTINCT task_id) FROM tds_dead_letter_queue WHERE buried_at >= $1 AND buried_at < $2) AS dead_lettered
