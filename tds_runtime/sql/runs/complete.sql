-- Ends a run and writes down what became of its tasks. The history is read from its first moment on, by completed_at.
-- Whatever of it lives on is deferred, also what was given back in this very moment: each task is counted once.
-- $1 id, $2 fence, $3 alarm (kept when there is one already)
WITH done AS (
    SELECT d.outcome, count(*) AS tasks
      FROM tds_sync_runs AS r
      JOIN tds_sync_queue_done AS d ON d.run_id = r.id AND d.completed_at >= r.started_at
     WHERE r.id = $1
     GROUP BY d.outcome
), live AS (
    SELECT count(*) FILTER (WHERE q.status = 'dead_letter') AS dead,
           count(*) FILTER (WHERE q.status <> 'dead_letter') AS deferred
      FROM tds_sync_queue_live AS q
     WHERE q.run_id = $1
)
UPDATE tds_sync_runs AS r
   SET status = 'completed', completed_at = now(), locked_by = NULL,
       alarm = CASE WHEN r.alarm = '' THEN $3 ELSE r.alarm END,
       applied = (SELECT COALESCE(sum(tasks), 0) FROM done),
       outcomes = (SELECT COALESCE(jsonb_object_agg(COALESCE(outcome, 'done'), tasks), '{}') FROM done),
       deferred = live.deferred, dead = live.dead
  FROM live
 WHERE r.id = $1 AND r.fence = $2 AND r.status = 'running'
RETURNING r.listed, r.unchanged, r.enqueued, r.coalesced, r.candidates, r.applied, r.deferred, r.dead, r.alarm, r.pages,
          r.calls, r.bytes,
          extract(epoch FROM r.completed_at - r.started_at)::float8 AS seconds;
