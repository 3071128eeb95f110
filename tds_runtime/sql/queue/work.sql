-- Shared clause. Which mailboxes have work: a loose scan over tds_sync_queue_live_claim, a few probes however long the queue is. For
-- fetches the first in line is enough. Paused entities have no work.
waiting AS (
    (SELECT entity_type FROM tds_sync_queue_live
      WHERE status = 'pending' AND available_at IS NULL AND operation <> 'fetch'
      ORDER BY entity_type LIMIT 1)
    UNION ALL
    SELECT (SELECT q.entity_type FROM tds_sync_queue_live AS q
             WHERE q.status = 'pending' AND q.available_at IS NULL AND q.operation <> 'fetch'
               AND q.entity_type > waiting.entity_type
             ORDER BY q.entity_type LIMIT 1)
      FROM waiting
     WHERE waiting.entity_type IS NOT NULL
), fetching AS (
    SELECT entity_type FROM tds_sync_queue_live
     WHERE status = 'pending' AND available_at IS NULL AND operation = 'fetch'
     ORDER BY priority, id LIMIT 1
)
