-- The newest slots of a schedule ($1), at most $2, with what became of their runs. Relies on the primary key.
SELECT s.slot, s.outcome, s.detail, s.decided_at, s.run_id, r.status, r.completed_at - r.started_at AS took
  FROM tds_slots AS s
  LEFT JOIN tds_sync_runs AS r ON r.id = s.run_id
 WHERE s.schedule = $1
 ORDER BY s.slot DESC
 LIMIT $2
