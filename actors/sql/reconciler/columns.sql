-- Shared clause: a report as people see it.
r.id, r.entity_type, r.depth, r.repair, r.status, r.requested_by, r.reason, r.schedule, r.slot, r.correlation_id,
       r.requests, r.requested_at, r.started_at, r.completed_at, r.attempt_count, r.entities, r.compared, r.current_entity,
       r.seen, r.expected, r.match_percentage, r.error_code, r.error_message
