-- Puts a report back to wait, the attempt refunded: its owner stops. Relies on the primary key. $1 id, $2 fence
UPDATE tds_reconciliation_reports
   SET status = 'pending', locked_by = NULL, current_entity = '', attempt_count = attempt_count - 1
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
