-- Of the records ($2) of an entity ($1) those without a task, waiting, in flight or given up.
-- Relies on the indexes of the live leaf by record.
SELECT record FROM unnest($2::text[]) AS record
 WHERE NOT EXISTS (SELECT FROM tds_sync_queue_live AS q WHERE q.entity_type = $1 AND q.source_entity_id = record)
 ORDER BY record
