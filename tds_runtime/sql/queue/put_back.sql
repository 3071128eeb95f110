-- Shared clause: the rows of `back` enter the waiting slot of their records, under their own ids.
INSERT INTO tds_sync_queue_live AS q (
    id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, available_at, snoozed_at,
    source_modified_at, observed_at, dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
    source_entity_id, operation, status, payload_kind, variant, content_type, correlation_id, reason, error_code,
    error_message, payload_hash, attempts, payload)
SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, available_at, snoozed_at,
       source_modified_at, observed_at, dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
       source_entity_id, operation, status, payload_kind, variant, content_type, correlation_id, reason, error_code,
       error_message, payload_hash, attempts, payload
  FROM back
 ORDER BY entity_type, source_entity_id
--+ queue/fold
