-- Shared clause: the columns of queue.Task, in its order; a webhook's payload is read from the inbox, one
-- by one (LIMIT keeps the planner from reading all of the inbox).
SELECT t.id, t.fence, t.entity_type, t.source_entity_id, t.operation, t.priority, t.attempt_count,
       COALESCE(t.payload, i.body) AS payload, t.payload_kind, t.variant, t.content_type, t.source_modified_at,
       t.observed_at, t.enqueued_at, t.snoozed_at, t.run_id, t.correlation_id, t.reason, t.coalesced, t.first_inbox_id,
       t.last_inbox_id
  FROM taken AS t
  LEFT JOIN LATERAL (SELECT body FROM tds_inbox_events WHERE tds_inbox_events.id = t.inbox_id LIMIT 1) AS i ON true
 ORDER BY t.priority, t.id
