-- Ends a report that has not ended; who has it in hand learns it within seconds. Entities that are stored stay stored.
-- $1 id, $2 why
UPDATE tds_reconciliation_reports
   SET status = 'cancelled', completed_at = now(), locked_by = NULL, current_entity = '', error_code = 'cancelled',
       error_message = left($2, 2000)
 WHERE id = $1 AND status IN ('pending', 'running')
RETURNING id
