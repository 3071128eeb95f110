-- Waiting tasks end as cancelled. Relies on SKIP LOCKED: what is being claimed right now is left alone.
-- $7 limit, $8 reason
WITH chosen AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_live AS q
     WHERE
--+ queue/waiting
     ORDER BY q.id LIMIT $7 FOR UPDATE SKIP LOCKED
), ended AS (
    DELETE FROM tds_sync_queue_live AS q USING chosen WHERE q.id = chosen.id RETURNING q.*, $8::text AS note
), history AS (
--+ queue/history
)
SELECT count(*) FROM ended;
