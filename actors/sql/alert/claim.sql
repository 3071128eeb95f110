-- The next notification of each of these channels, marked as begun: how it ends is in doubt until somebody writes it down.
-- Relies on one node sending at a time. $1 channels, $2 now
WITH due AS (
    SELECT next.id
      FROM unnest($1::text[]) AS c (channel)
     CROSS JOIN LATERAL (
         SELECT id FROM tds_notifications
          WHERE status = 'pending' AND channel = c.channel AND due_at <= $2
          ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
     ) AS next
)
UPDATE tds_notifications AS n SET attempt_count = n.attempt_count + 1, in_doubt = true
  FROM due, (SELECT id, in_doubt FROM tds_notifications WHERE status = 'pending') AS before
 WHERE n.id = due.id AND before.id = n.id
RETURNING n.id, n.channel, n.kind, n.letter::text AS letter, n.attempt_count, before.in_doubt, n.alert_ids
