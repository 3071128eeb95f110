-- Runs of schedules that have taken longer than their schedule allows: $1 names, $2 seconds, in the same order.
SELECT r.id, r.schedule, allowed.seconds
  FROM unnest($1::text[], $2::float8[]) AS allowed (schedule, seconds)
  JOIN tds_sync_runs AS r USING (schedule)
 WHERE r.status = 'running'
   AND r.parent_id IS NULL
   AND r.started_at < now() - allowed.seconds * interval '1 second'
