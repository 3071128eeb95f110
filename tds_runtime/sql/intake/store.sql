-- One statement, so one round trip and one commit: what was delivered, the key of each record's last delivery, and the
-- task. Relies on: the row lock of tds_last_deliveries, which makes two writers of one record take turns; at most one
-- delivery per record when $3 is true; deliveries of one record in order of arrival.
-- $1 deliveries as JSON, `last` of their records or not, $2 their bodies, $3 compare with the last delivery,
-- $4 changes as JSON: numbers of the deliveries that won, came first and came last, and how many were folded
WITH given AS MATERIALIZED (
    SELECT d.*, nextval('tds_inbox_events_id_seq') AS id
      FROM ROWS FROM (
        json_to_recordset($1::json) AS (
            source text, entity_type text, source_entity_id text, record text, operation text, modified_at timestamptz,
            content_type text, query text, correlation_id text, variant text, key text, hash text, event_id text,
            last boolean),
        unnest($2::bytea[])
      ) WITH ORDINALITY AS d (
        source, entity_type, source_entity_id, record, operation, modified_at, content_type, query, correlation_id,
        variant, key, hash, event_id, last, body, number)
), latest AS (
    INSERT INTO tds_last_deliveries AS l (source, entity_type, record, key, inbox_id)
    SELECT source, entity_type, record, decode(key, 'hex'), id FROM given WHERE last
     ORDER BY source COLLATE "C", entity_type COLLATE "C", record COLLATE "C"
    ON CONFLICT (source, entity_type, record) DO UPDATE SET
        key = EXCLUDED.key,
        inbox_id = CASE WHEN $3 AND l.key = EXCLUDED.key THEN l.inbox_id ELSE EXCLUDED.inbox_id END,
        repeats = CASE WHEN l.key = EXCLUDED.key THEN l.repeats + 1 ELSE 0 END,
        seen_at = now()
    RETURNING l.source, l.entity_type, l.record, l.inbox_id
), judged AS MATERIALIZED (
    SELECT given.*, CASE WHEN $3 THEN latest.inbox_id ELSE given.id END AS stored_id
      FROM given LEFT JOIN latest USING (source, entity_type, record)
), stored AS (
    INSERT INTO tds_inbox_events (
        id, source, entity_type, source_entity_id, operation, modified_at, content_type, query, correlation_id, variant,
        idempotency_key, body)
    SELECT id, source, entity_type, source_entity_id, operation, modified_at, content_type, query, correlation_id, variant,
           COALESCE(event_id, key), body
      FROM judged WHERE stored_id = id ORDER BY number
), queued AS (
    INSERT INTO tds_sync_queue_live AS q (
        entity_type, source_entity_id, operation, payload_kind, payload_hash, variant, content_type, source_modified_at,
        observed_at, priority, correlation_id, reason, coalesced, inbox_id, first_inbox_id, last_inbox_id)
    SELECT winner.entity_type, winner.record, change.operation, 'webhook', decode(winner.hash, 'hex'), winner.variant,
           winner.content_type, winner.modified_at, now(), 10, winner.correlation_id,
           CASE winner.operation WHEN 'fetch' THEN 'said to be deleted' ELSE '' END, change.folded,
           CASE WHEN change.operation <> 'fetch' THEN winner.id END, first.id, final.id
      FROM json_to_recordset($4::json)
               AS change (winner bigint, operation text, folded integer, first bigint, final bigint)
      JOIN judged AS winner ON winner.number = change.winner
      JOIN judged AS first ON first.number = change.first
      JOIN judged AS final ON final.number = change.final
     WHERE winner.stored_id = winner.id
     ORDER BY winner.entity_type COLLATE "C", winner.record COLLATE "C"
--+ queue/fold
)
SELECT stored_id, stored_id <> id AS duplicate FROM judged ORDER BY number;
