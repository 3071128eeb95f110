-- Shared clause: what was picked goes into flight under a new fence. An array, because the planner takes an unknown LIMIT for
-- a tenth of the table and would read all of it.
UPDATE tds_sync_queue_live AS q
   SET status = 'processing', fence = q.fence + 1, attempt_count = q.attempt_count + 1, locked_by = $3,
       processing_started_at = now()
 WHERE q.id = ANY (ARRAY(SELECT picked.id FROM picked))
RETURNING q.id, q.fence, q.entity_type, q.source_entity_id, q.operation, q.priority, q.attempt_count, q.payload,
          q.payload_kind, q.variant, q.content_type, q.source_modified_at, q.observed_at, q.enqueued_at, q.snoozed_at,
          q.run_id, q.correlation_id, q.reason, q.coalesced, q.first_inbox_id, q.last_inbox_id, q.inbox_id
