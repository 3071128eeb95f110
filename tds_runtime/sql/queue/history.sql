-- Shared clause: the rows of `ended` become history as cancelled, with their `note` as the reason.
INSERT INTO tds_sync_queue_done (
    id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
    completed_at, dead_letter_at, attempt_count, coalesced, priority, revived, entity_type, source_entity_id, operation,
    status, payload_kind, variant, content_type, correlation_id, reason, error_code, error_message, outcome,
    payload_hash, attempts)
SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
       now(), dead_letter_at, attempt_count, coalesced, priority, revived, entity_type, source_entity_id, operation,
       'cancelled', payload_kind, variant, content_type, correlation_id, note, error_code, error_message, 'cancelled',
       payload_hash, attempts
  FROM ended
