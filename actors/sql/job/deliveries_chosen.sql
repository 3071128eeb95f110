-- Shared clause: a selection over deliveries `e`. Relies on the BRIN index on received_at, for one record on
-- tds_inbox_events_record. $1 ids, $2 entity_type, $3 source_entity_id, $4 no error code, $5 since, $6 until
($1::bigint[] IS NULL OR e.id = ANY ($1))
   AND ($2::text IS NULL OR e.entity_type = $2)
   AND ($3::text IS NULL OR e.source_entity_id = $3)
   AND $4::text IS NULL
   AND ($5::timestamptz IS NULL OR e.received_at >= $5)
   AND ($6::timestamptz IS NULL OR e.received_at < $6)
