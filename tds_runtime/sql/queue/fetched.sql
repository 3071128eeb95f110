-- A detail call was answered: the fetch becomes the upsert or delete that it found. Where $9 says so it stays in flight, for
-- the entity's actor, which waits for it; else it goes back in place, the attempt refunded. So does what is paused by now.
-- Relies on (id, fence, processing) being the caller's own lease; CASE keeps the planner on the index of ids, and on one
-- answer per record.
-- $1 ids ascending, $2 fences, $3 operations, $4 payloads, $5 hashes, $6 modified, $7 observed, $8 variants, $9 to stay
WITH paused AS MATERIALIZED (
    SELECT entity_type FROM tds_pauses WHERE until IS NULL OR until > now()
), given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::timestamptz[],
                         $7::timestamptz[], $8::text[], $9::boolean[])
        AS g (id, fence, new_operation, new_payload, new_hash, new_modified_at, new_observed_at, new_variant, stays)
), kept AS (
    UPDATE tds_sync_queue_live AS q
       SET operation = new_operation, payload = new_payload, payload_kind = 'detail', payload_hash = new_hash,
           source_modified_at = new_modified_at, observed_at = new_observed_at,
           variant = COALESCE(new_variant, q.variant), content_type = 'application/json', inbox_id = NULL,
           snoozed_at = NULL, error_code = NULL, error_message = NULL, processing_started_at = now()
      FROM given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
       AND given.stays AND q.entity_type NOT IN (SELECT entity_type FROM paused)
    RETURNING q.id
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
       AND NOT (given.stays AND q.entity_type NOT IN (SELECT entity_type FROM paused))
    RETURNING q.*, given.new_operation, given.new_payload, given.new_hash, given.new_modified_at, given.new_observed_at,
              given.new_variant
), back AS MATERIALIZED (
    SELECT id, fence, NULL::bigint AS inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at,
           new_modified_at AS source_modified_at, new_observed_at AS observed_at, dead_letter_at,
           attempt_count - 1 AS attempt_count, coalesced, priority, revived, entity_type, source_entity_id,
           new_operation AS operation, 'detail' AS payload_kind, COALESCE(new_variant, variant) AS variant,
           'application/json' AS content_type, correlation_id, reason, new_hash AS payload_hash, new_payload AS payload,
           NULL::timestamptz AS available_at, NULL::timestamptz AS snoozed_at, 'pending' AS status,
           NULL::text AS error_code, NULL::text AS error_message, attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT id, true AS kept FROM kept UNION ALL SELECT id, false FROM taken;
