-- Like claim, for detail calls: tasks of many entities in one order, by tds_sync_queue_live_claim_fetch.
-- $1 entity_types, $2 limit, $3 boot_id
WITH picked AS MATERIALIZED (
    SELECT q.id
      FROM tds_sync_queue_live AS q
     WHERE q.status = 'pending' AND q.available_at IS NULL AND q.operation = 'fetch'
       AND q.entity_type = ANY ($1::text[])
       AND NOT EXISTS (
           SELECT FROM tds_sync_queue_live AS p
            WHERE p.status = 'processing' AND p.entity_type = q.entity_type AND p.source_entity_id = q.source_entity_id
           OFFSET 0)
       AND q.entity_type NOT IN (SELECT entity_type FROM tds_pauses WHERE until IS NULL OR until > now())
     ORDER BY q.priority, q.id
     LIMIT $2
       FOR UPDATE OF q SKIP LOCKED
), taken AS (
--+ queue/take
)
--+ queue/task
