-- What was received before goes through the queue again, the latest of each record; what is stored already will be
-- unchanged or superseded. $1 inbox ids, $2 correlation id
WITH latest AS (
    SELECT DISTINCT ON (entity_type, record) *
      FROM (
        SELECT *, CASE source_entity_id WHEN '' THEN 'body:' || idempotency_key ELSE source_entity_id END AS record
          FROM tds_inbox_events WHERE id = ANY ($1::bigint[])
      ) AS chosen
     ORDER BY entity_type, record, id DESC
), put AS (
    INSERT INTO tds_sync_queue_live AS q (
        entity_type, source_entity_id, operation, payload_kind, variant, content_type, source_modified_at, observed_at,
        priority, correlation_id, reason, inbox_id, first_inbox_id, last_inbox_id)
    SELECT entity_type, record, operation, 'webhook', variant, content_type, modified_at, received_at, 10,
           COALESCE(NULLIF($2, ''), correlation_id),
           CASE operation WHEN 'fetch' THEN 'said to be deleted' ELSE 'replay' END,
           CASE WHEN operation <> 'fetch' THEN id END, id, id
      FROM latest ORDER BY entity_type, record
--+ queue/fold
    RETURNING q.id
)
SELECT count(*) FROM put;
