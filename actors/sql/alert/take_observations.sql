-- Takes what nodes have seen, in the transaction that judges it. $1 at most so many batches
DELETE FROM tds_alert_observations
 WHERE (boot_id, batch) IN (SELECT boot_id, batch FROM tds_alert_observations ORDER BY seen_at, batch LIMIT $1)
RETURNING body::text, seen_at, batch
