-- What is known of each schedule ($1 names) before its next slots are decided, by the database's clock.
-- Relies on the primary key (schedule, slot) of tds_slots. A slot in the future (a clock was wrong once) is not "last".
SELECT name,
       now() AS now,
       (SELECT max(slot) FROM tds_slots WHERE schedule = name AND slot <= now()) AS last,
       (SELECT count(*) FROM tds_sync_runs WHERE schedule = name AND parent_id IS NULL AND status = 'pending') AS waiting,
       (SELECT count(*) FROM tds_sync_runs WHERE schedule = name AND parent_id IS NULL AND status = 'running') AS running,
       (SELECT count(*)
          FROM tds_slots
         WHERE schedule = name AND outcome = 'failed' AND slot > succeeded.slot) AS failures,
       (SELECT count(*)
          FROM tds_slots
         WHERE schedule = name AND outcome = 'skipped_paused' AND slot > tried.slot) AS skipped,
       EXISTS (SELECT FROM tds_configuration WHERE key = 'schedule.' || name || '.paused') AS paused
  FROM unnest($1::text[]) AS name
 CROSS JOIN LATERAL (
       SELECT coalesce(max(s.slot), '-infinity') AS slot
         FROM tds_slots AS s
         JOIN tds_sync_runs AS r ON r.id = s.run_id
        WHERE s.schedule = name AND r.status = 'completed') AS succeeded
 CROSS JOIN LATERAL (
       SELECT coalesce(max(slot), '-infinity') AS slot
         FROM tds_slots
        WHERE schedule = name AND outcome IN ('ran', 'late', 'failed')) AS tried
