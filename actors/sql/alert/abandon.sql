-- What waits for channels that exist no more is suppressed, and says so. $1 channels that exist, $2 now
UPDATE tds_notifications
   SET status = 'suppressed', reason = 'the channel exists no more', ended_at = $2, summarized = true
 WHERE status = 'pending' AND NOT channel = ANY($1::text[])
RETURNING id
