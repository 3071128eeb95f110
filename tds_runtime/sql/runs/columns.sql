-- Shared clause: a run as people see it.
r.id, r.parent_id, r.entity_type, r.kind, r.status, r.requested_by, r.schedule, r.slot, r.args::text AS args,
       r.correlation_id, r.requests, r.requested_at, r.available_at, r.started_at, r.listed_at, r.completed_at,
       r.attempt_count, r.resumed, r.plan::text AS plan, r.expected, r.pages, r.listed, r.unchanged, r.enqueued,
       r.coalesced, r.candidates, r.applied, r.deferred, r.dead, r.outcomes::text AS outcomes, r.alarm, r.error_code,
       r.error_message, r.calls, r.bytes
