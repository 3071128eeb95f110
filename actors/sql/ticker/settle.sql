-- Slots whose work has failed since become failed themselves. Bounded by the slots of the last two days, found by
-- tds_slots_decided; relies on the indexes tds_*_slot below the view.
UPDATE tds_slots AS s
   SET outcome = 'failed', detail = left(w.work || ' ' || w.id || ' ' || w.status || COALESCE(': ' || NULLIF(w.error, ''), ''), 500)
  FROM tds_scheduled_work AS w
 WHERE w.schedule = s.schedule AND w.slot = s.slot
   AND w.status IN ('failed', 'cancelled')
   AND s.outcome IN ('ran', 'late')
   AND s.decided_at > now() - interval '2 days'
RETURNING s.schedule, s.slot, w.work, w.id
