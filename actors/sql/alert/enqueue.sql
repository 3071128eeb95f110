-- Puts notifications into the outbox, to be sent or with the reason why not; a summary ends what its channel was spared.
-- $1 notifications (JSON), $2 now, $3 channels that are summed up
WITH summed AS (
    UPDATE tds_notifications SET summarized = true
     WHERE status = 'suppressed' AND NOT summarized AND channel = ANY($3::text[])
)
INSERT INTO tds_notifications (channel, kind, route, group_key, alert_ids, letter, status, reason, created_at, due_at,
                               ended_at, summarized)
SELECT channel, kind, route, group_key, ARRAY(SELECT jsonb_array_elements_text(alert_ids)::bigint), letter, status, reason,
       $2::timestamptz, $2, CASE WHEN status = 'suppressed' THEN $2 END, NOT held
  FROM jsonb_to_recordset($1::jsonb) AS n (
      channel text, kind text, route text, group_key text, alert_ids jsonb, letter jsonb, status text, reason text,
      held boolean)
