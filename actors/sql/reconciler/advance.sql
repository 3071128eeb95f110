-- One more entity of a report is stored; no row when the report is no longer the caller's. $1 id, $2 fence
UPDATE tds_reconciliation_reports
   SET compared = compared + 1, current_entity = '', seen = 0, expected = NULL
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
