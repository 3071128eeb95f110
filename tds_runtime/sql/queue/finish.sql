-- Shared clause: what complete does. $1 rows in order of their ids
given AS (
    SELECT * FROM json_to_recordset($1::json) AS g (id bigint, fence bigint, new_outcome text, new_result jsonb)
), finished AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
    RETURNING q.*, given.new_outcome, given.new_result
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
           NULL, new_outcome, payload_hash, attempts, new_result
      FROM finished
    UNION ALL
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           processing_started_at, now(), dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
           source_entity_id, operation, 'completed', payload_kind, variant, content_type, correlation_id, reason,
           error_code, error_message, 'superseded', payload_hash, attempts, NULL
      FROM outdone
)
