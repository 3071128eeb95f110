-- The payloads of claimed webhooks that their claim could not see: a delivery that was folded into a task after the claim's
-- snapshot and before its lock is in the claimed row, its inbox row is in a later snapshot only. Relies on this being a
-- statement of its own, under READ COMMITTED, and on nothing being folded into a task in flight. $1 ids
SELECT q.id, i.body
  FROM tds_sync_queue_live AS q JOIN tds_inbox_events AS i ON i.id = q.inbox_id
 WHERE q.id = ANY ($1::bigint[]);
