-- Shared clause: one dead letter for each row of `buried`.
INSERT INTO tds_dead_letter_queue (
    task_id, entity_type, source_entity_id, operation, error_code, error_message, traceback, attempt_count, attempts,
    retry_count, correlation_id, last_inbox_id, run_id, first_buried_at)
SELECT id, entity_type, source_entity_id, operation, error_code, error_message, traceback, attempt_count,
       COALESCE(attempts, '[]'), revived, correlation_id, last_inbox_id, run_id, dead_letter_at
  FROM buried
