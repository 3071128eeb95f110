-- Relies on: (id, fence, processing) names the caller's own lease, so a stale owner finishes nothing; finishing is DELETE +
-- INSERT, never a row that an UPDATE moves. Dead letters of the same record that are older than what landed are resolved.
-- $1 ids, $2 fences, $3 outcomes, $4 results
WITH
--+ queue/finish
SELECT count(*) FROM finished;
