-- Shared clause: what complete does. The payload does not go into the history, so it is not returned.
-- $1 ids in their order, $2 fences, $3 outcomes, $4 results: arrays as text, which cost the client and the server a fraction
-- of encoded ones and of JSON; results apart by a character that no JSON has, '' for none
given AS (
    SELECT * FROM ROWS FROM (
        unnest($1::text::bigint[]), unnest($2::text::bigint[]), unnest($3::text::text[]),
        unnest(string_to_array($4::text, E'\x1e', ''))
    ) AS g (id, fence, new_outcome, new_result)
), finished AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
    RETURNING q.id, q.fence, q.inbox_id, q.first_inbox_id, q.last_inbox_id, q.run_id, q.enqueued_at, q.source_modified_at,
              q.observed_at, q.processing_started_at, q.dead_letter_at, q.attempt_count, q.coalesced, q.priority,
              q.revived, q.entity_type, q.source_entity_id, q.operation, q.payload_kind, q.variant, q.content_type,
              q.correlation_id, q.reason, q.payload_hash, q.attempts, given.new_outcome, given.new_result
), outdone AS (
    DELETE FROM tds_sync_queue_live AS d USING finished AS f
     WHERE d.status = 'dead_letter' AND d.entity_type = f.entity_type AND d.source_entity_id = f.source_entity_id
       AND d.id < f.id AND (d.source_modified_at <= f.source_modified_at) IS NOT FALSE
       AND f.new_outcome IN ('applied', 'unchanged', 'deleted')
    RETURNING d.*
), resolved AS (
    UPDATE tds_dead_letter_queue AS l SET resolved_at = now(), resolution = 'superseded', resolved_by = 'queue'
      FROM outdone WHERE l.task_id = outdone.id AND l.resolved_at IS NULL
), history AS (
    INSERT INTO tds_sync_queue_done (
        id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
        processing_started_at, completed_at, dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
        source_entity_id, operation, status, payload_kind, variant, content_type, correlation_id, reason, error_code,
        error_message, outcome, payload_hash, attempts, result)
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           processing_started_at, now(), dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
           source_entity_id, operation, 'completed', payload_kind, variant, content_type, correlation_id, reason, NULL,
           NULL, new_outcome, payload_hash, attempts, new_result::jsonb
      FROM finished
    UNION ALL
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           processing_started_at, now(), dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
           source_entity_id, operation, 'completed', payload_kind, variant, content_type, correlation_id, reason,
           error_code, error_message, 'superseded', payload_hash, attempts, NULL
      FROM outdone
)
