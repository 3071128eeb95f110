-- Runs of everything end with the last of their runs: completed when all completed, else failed with the names.
WITH sums AS (
    SELECT p.id,
           count(*) FILTER (WHERE c.status = 'failed') AS failed,
           count(*) FILTER (WHERE c.status = 'cancelled') AS cancelled,
           string_agg(c.entity_type || ': ' || COALESCE(c.error_message, c.status), E'\n' ORDER BY c.id)
               FILTER (WHERE c.status <> 'completed') AS faults,
           COALESCE(string_agg(DISTINCT c.alarm, ' ') FILTER (WHERE c.alarm <> ''), '') AS alarm,
           sum(c.expected) AS expected, sum(c.pages) AS pages, sum(c.listed) AS listed, sum(c.unchanged) AS unchanged,
           sum(c.enqueued) AS enqueued, sum(c.coalesced) AS coalesced, sum(c.candidates) AS candidates,
           sum(c.applied) AS applied, sum(c.deferred) AS deferred, sum(c.dead) AS dead, sum(c.calls) AS calls,
           sum(c.bytes) AS bytes
      FROM tds_sync_runs AS p
      JOIN tds_sync_runs AS c ON c.parent_id = p.id
     WHERE p.status = 'running' AND p.entity_type = 'all'
     GROUP BY p.id
    HAVING count(*) FILTER (WHERE c.status IN ('pending', 'running')) = 0
)
UPDATE tds_sync_runs AS p
   SET status = CASE WHEN sums.failed > 0 THEN 'failed' WHEN sums.cancelled > 0 THEN 'cancelled' ELSE 'completed' END,
       error_code = CASE WHEN sums.failed > 0 THEN 'entities_failed' END,
       error_message = left(sums.faults, 2000), alarm = sums.alarm, completed_at = now(),
       expected = sums.expected, pages = sums.pages, listed = sums.listed, unchanged = sums.unchanged,
       enqueued = sums.enqueued, coalesced = sums.coalesced, candidates = sums.candidates, applied = sums.applied,
       deferred = sums.deferred, dead = sums.dead, calls = sums.calls, bytes = sums.bytes
  FROM sums
 WHERE p.id = sums.id AND p.status = 'running'
RETURNING p.id, p.status;
