-- The senders' own event ids, unique for 30 days: returns those that were there before, with the delivery they named. A
-- repeat writes as well. Relies on a later name_events in the same transaction: 0 names nothing yet.
-- $1 sources, $2 event ids
WITH taken AS (
    INSERT INTO tds_event_keys AS k (source, event_id, inbox_id)
    SELECT source, event_id, 0 FROM unnest($1::text[], $2::text[]) AS e (source, event_id)
    ORDER BY source COLLATE "C", event_id COLLATE "C"
    ON CONFLICT (source, event_id) DO UPDATE SET repeats = k.repeats + 1
    RETURNING k.source, k.event_id, k.inbox_id
)
SELECT source, event_id, inbox_id FROM taken WHERE inbox_id <> 0;
