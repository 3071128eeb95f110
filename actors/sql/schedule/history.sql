-- The newest slots of a schedule ($1) before $3 (NULL: all), at most $2, with what became of their work.
-- Relies on the primary key and on the indexes tds_*_slot below the view.
SELECT s.slot, s.outcome, s.detail, s.decided_at, s.run_id, w.work, w.id, w.status, w.completed_at - w.started_at AS took,
       w.error
  FROM tds_slots AS s
  LEFT JOIN tds_scheduled_work AS w ON w.schedule = s.schedule AND w.slot = s.slot
 WHERE s.schedule = $1 AND ($3::timestamptz IS NULL OR s.slot < $3)
 ORDER BY s.slot DESC
 LIMIT $2
