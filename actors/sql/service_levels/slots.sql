-- Slots of schedules in [$1, $2): those whose run is done, and those that failed. Slots that were skipped by their
-- schedule's own rules are neither, and what still runs is not judged. Relies on tds_slots_decided.
SELECT count(*) FILTER (WHERE s.outcome IN ('ran', 'late')) AS done, count(*) FILTER (WHERE s.outcome = 'failed') AS failed
  FROM tds_slots AS s LEFT JOIN tds_sync_runs AS r ON r.id = s.run_id
 WHERE s.decided_at >= $1 AND s.decided_at < $2 AND (r.status IS NULL OR r.status NOT IN ('pending', 'running'))
