-- Shared clause: claim's choice. A suspect (its next attempt is trial.SUSPECT, said here as well) is never taken in company, which
-- would be charged with its deed. Where one is the first in line, $4 tells: it comes 'alone', they 'skip' it, or they 'stop'.
-- OFFSET 0 keeps NOT EXISTS one index probe per candidate: a set of all that is in flight
-- would visit every dead entry of the index while a long transaction keeps vacuum away. The inner LIMIT is the greatest batch
-- (queue.MOST): with it the planner takes an unknown LIMIT for a tenth of that and not of the table, and so keeps one plan
-- for good instead of making another for every claim, which takes a millisecond. Rows are locked as the outer one asks.
-- $1 entity_type, $2 limit, $3 boot_id, $4 suspects
line AS MATERIALIZED (
    SELECT id, attempt_count FROM (
        SELECT q.id, q.attempt_count
          FROM tds_sync_queue_live AS q
         WHERE q.status = 'pending' AND q.available_at IS NULL AND q.operation <> 'fetch' AND q.entity_type = $1
           AND NOT EXISTS (
               SELECT FROM tds_sync_queue_live AS p
                WHERE p.status = 'processing' AND p.entity_type = q.entity_type
                  AND p.source_entity_id = q.source_entity_id
               OFFSET 0)
           AND NOT EXISTS (
               SELECT FROM tds_pauses WHERE tds_pauses.entity_type = $1 AND (until IS NULL OR until > now()))
         ORDER BY q.priority, q.id
         LIMIT 1000
           FOR UPDATE OF q SKIP LOCKED
    ) AS candidates
     LIMIT $2
), head AS MATERIALIZED (
    SELECT id, attempt_count FROM line LIMIT 1
), picked AS MATERIALIZED (
    SELECT line.id
      FROM line
     WHERE CASE WHEN $4::text = 'skip' OR (SELECT attempt_count < 2 FROM head) THEN line.attempt_count < 2
                ELSE $4::text = 'alone' AND line.id = (SELECT id FROM head) END
), taken AS (
--+ queue/take
)
