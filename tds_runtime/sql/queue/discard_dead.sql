-- Dead letters that nobody wants: the letter is resolved, the task ends as cancelled. $7 limit, $8 by, $9 note
WITH chosen AS MATERIALIZED (
    SELECT l.id, l.task_id FROM tds_dead_letter_queue AS l
     WHERE
--+ queue/selected
     ORDER BY l.id LIMIT $7 FOR UPDATE OF l SKIP LOCKED
), resolved AS (
    UPDATE tds_dead_letter_queue AS l
       SET resolved_at = now(), resolution = 'discarded', resolved_by = $8::text, note = $9::text
      FROM chosen WHERE l.id = chosen.id
    RETURNING l.id
), ended AS (
    DELETE FROM tds_sync_queue_live AS q USING chosen
     WHERE q.id = chosen.task_id AND q.status = 'dead_letter'
    RETURNING q.*, $8::text || ': ' || $9::text AS note
), history AS (
--+ queue/history
)
SELECT count(*) FROM resolved;
