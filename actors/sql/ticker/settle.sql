-- Slots whose run has failed since become failed themselves. Bounded by the runs of the last two days.
UPDATE tds_slots AS s
   SET outcome = 'failed', detail = left('run ' || r.id || ' ' || r.status, 500)
  FROM tds_sync_runs AS r
 WHERE r.id = s.run_id
   AND r.status IN ('failed', 'cancelled')
   AND s.outcome IN ('ran', 'late')
   AND s.decided_at > now() - interval '2 days'
RETURNING s.schedule, s.slot, s.run_id
