-- Says which delivery an event id named. Relies on take_events in the same transaction, which locked the rows.
UPDATE tds_event_keys AS k SET inbox_id = e.inbox_id
  FROM unnest($1::text[], $2::text[], $3::bigint[]) AS e (source, event_id, inbox_id)
 WHERE k.source = e.source AND k.event_id = e.event_id;
