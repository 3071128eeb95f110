-- What is known of each schedule ($1 names) before its next slots are decided, at $2 (NULL: by the database's clock).
-- Relies on the primary key (schedule, slot) of tds_slots and on the indexes tds_*_slot below the view. A slot in the future
-- (a clock was wrong once) is not "last". Schedules that are not named begin anew when they are named again.
WITH forgotten AS (
    DELETE FROM tds_schedules WHERE name <> ALL ($1::text[])
), clock AS (
    SELECT COALESCE($2::timestamptz, now()) AS at
)
SELECT name,
       clock.at AS now,
       (SELECT timing FROM tds_schedules AS s WHERE s.name = named.name) AS timing,
       (SELECT max(slot) FROM tds_slots WHERE schedule = name AND slot <= clock.at) AS last,
       (SELECT count(*) FROM tds_scheduled_work WHERE schedule = name AND status = 'pending') AS waiting,
       (SELECT count(*) FROM tds_scheduled_work WHERE schedule = name AND status = 'running') AS running,
       (SELECT count(*)
          FROM tds_slots
         WHERE schedule = name AND outcome = 'failed' AND slot > COALESCE(succeeded.slot, '-infinity')) AS failures,
       (SELECT count(*)
          FROM tds_slots
         WHERE schedule = name AND outcome = 'skipped_paused' AND slot > COALESCE(tried.slot, '-infinity')) AS skipped,
       tried.slot AS tried,
       EXISTS (SELECT FROM tds_configuration WHERE key = 'schedule.' || name || '.paused') AS paused
  FROM unnest($1::text[]) AS named (name)
 CROSS JOIN clock
  LEFT JOIN LATERAL (
       SELECT slot FROM tds_scheduled_work
        WHERE schedule = name AND status = 'completed' ORDER BY slot DESC NULLS LAST LIMIT 1) AS succeeded ON true
  LEFT JOIN LATERAL (
       SELECT slot FROM tds_slots
        WHERE schedule = name AND outcome IN ('ran', 'late', 'failed') ORDER BY slot DESC LIMIT 1) AS tried ON true
