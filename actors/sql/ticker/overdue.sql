-- Work of schedules that has taken longer than its schedule allows: $1 names, $2 seconds and $3 kinds of work in the same
-- order. What it was put off by outages does not count; of a run of everything the part counts that was put off longest.
-- Relies on the indexes of what is open, which are small.
SELECT w.id, w.schedule, allowed.seconds
  FROM unnest($1::text[], $2::float8[], $3::text[]) AS allowed (schedule, seconds, work)
  JOIN tds_scheduled_work AS w USING (schedule, work)
 WHERE w.status = 'running'
   AND w.started_at < now() - allowed.seconds * interval '1 second' - GREATEST(w.put_off, (
       SELECT max(part.put_off) FROM tds_sync_runs AS part WHERE w.work = 'run' AND part.parent_id = w.id))
   AND NOT EXISTS (
       SELECT FROM tds_sync_runs AS part
        WHERE w.work = 'run' AND part.parent_id = w.id AND part.status = 'pending' AND part.available_at > now())
