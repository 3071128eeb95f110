-- A page of unresolved dead letters by keyset. $7 ids below, $8 limit
SELECT l.id, l.task_id, l.entity_type, l.source_entity_id, l.operation, l.error_code, l.error_message, l.traceback,
       l.attempt_count, l.attempts::text, l.retry_count, l.correlation_id, l.last_inbox_id, l.run_id, l.first_buried_at,
       l.buried_at
  FROM tds_dead_letter_queue AS l
 WHERE
--+ queue/selected
   AND ($7::bigint IS NULL OR l.id < $7)
 ORDER BY l.id DESC
 LIMIT $8;
