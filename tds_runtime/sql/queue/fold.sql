-- Shared clause. The record already has a waiting task (unique index tds_sync_queue_live_waiting): one task remains, it
-- keeps its id and place, tds_fold says whose content it carries, and coalesced counts what went into it. The greater id
-- arrived later: a task that comes back from processing is older than the one that waits.
ON CONFLICT (entity_type, source_entity_id) WHERE status IN ('pending', 'failed') DO UPDATE SET
    coalesced = q.coalesced + EXCLUDED.coalesced + 1,
    priority = LEAST(q.priority, EXCLUDED.priority),
    enqueued_at = LEAST(q.enqueued_at, EXCLUDED.enqueued_at),
    first_inbox_id = LEAST(q.first_inbox_id, EXCLUDED.first_inbox_id),
    last_inbox_id = GREATEST(q.last_inbox_id, EXCLUDED.last_inbox_id),
    attempts = COALESCE(q.attempts || EXCLUDED.attempts, q.attempts, EXCLUDED.attempts),
    (operation, payload, payload_kind, payload_hash, variant, content_type, inbox_id, source_modified_at, observed_at,
     run_id, correlation_id, reason, status, available_at, snoozed_at, attempt_count, revived, error_code, error_message) = (
        SELECT CASE v.verdict WHEN 'old' THEN q.operation WHEN 'new' THEN EXCLUDED.operation ELSE 'fetch' END,
               CASE v.verdict WHEN 'old' THEN q.payload WHEN 'new' THEN EXCLUDED.payload END,
               CASE v.verdict WHEN 'old' THEN q.payload_kind ELSE EXCLUDED.payload_kind END,
               CASE v.verdict WHEN 'old' THEN q.payload_hash WHEN 'new' THEN EXCLUDED.payload_hash END,
               CASE v.verdict WHEN 'old' THEN q.variant ELSE EXCLUDED.variant END,
               CASE v.verdict WHEN 'old' THEN q.content_type ELSE EXCLUDED.content_type END,
               CASE v.verdict WHEN 'old' THEN q.inbox_id WHEN 'new' THEN EXCLUDED.inbox_id END,
               CASE v.verdict WHEN 'old' THEN q.source_modified_at WHEN 'new' THEN EXCLUDED.source_modified_at
                    ELSE GREATEST(q.source_modified_at, EXCLUDED.source_modified_at) END,
               CASE v.verdict WHEN 'old' THEN q.observed_at WHEN 'new' THEN EXCLUDED.observed_at END,
               CASE v.verdict WHEN 'old' THEN q.run_id ELSE EXCLUDED.run_id END,
               CASE v.verdict WHEN 'old' THEN q.correlation_id ELSE EXCLUDED.correlation_id END,
               CASE v.verdict WHEN 'old' THEN q.reason WHEN 'new' THEN EXCLUDED.reason ELSE 'ambiguous' END,
               CASE v.verdict WHEN 'old' THEN q.status WHEN 'new' THEN EXCLUDED.status ELSE 'pending' END,
               CASE v.verdict WHEN 'old' THEN q.available_at WHEN 'new' THEN EXCLUDED.available_at END,
               CASE v.verdict WHEN 'old' THEN q.snoozed_at WHEN 'new' THEN EXCLUDED.snoozed_at END,
               CASE v.verdict WHEN 'old' THEN q.attempt_count WHEN 'new' THEN EXCLUDED.attempt_count ELSE 0 END,
               CASE v.verdict WHEN 'old' THEN q.revived WHEN 'new' THEN EXCLUDED.revived ELSE 0 END,
               CASE v.verdict WHEN 'old' THEN q.error_code WHEN 'new' THEN EXCLUDED.error_code END,
               CASE v.verdict WHEN 'old' THEN q.error_message WHEN 'new' THEN EXCLUDED.error_message END
          FROM (
            SELECT CASE WHEN EXCLUDED.id > q.id
                THEN CASE tds_fold(
                        q.operation, q.source_modified_at, q.observed_at, q.payload_kind, q.payload_hash,
                        EXCLUDED.operation, EXCLUDED.source_modified_at, EXCLUDED.observed_at, EXCLUDED.payload_kind,
                        EXCLUDED.payload_hash)
                     WHEN 'earlier' THEN 'old' WHEN 'later' THEN 'new' ELSE 'fetch' END
                ELSE CASE tds_fold(
                        EXCLUDED.operation, EXCLUDED.source_modified_at, EXCLUDED.observed_at, EXCLUDED.payload_kind,
                        EXCLUDED.payload_hash,
                        q.operation, q.source_modified_at, q.observed_at, q.payload_kind, q.payload_hash)
                     WHEN 'earlier' THEN 'new' WHEN 'later' THEN 'old' ELSE 'fetch' END
                END AS verdict
          ) AS v
    )
