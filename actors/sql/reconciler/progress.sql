-- How far a report is; no row when it is no longer the caller's. Relies on the primary key.
-- $1 id, $2 fence, $3 entities, $4 entity in hand, $5 records seen of it, $6 records that its source counted
UPDATE tds_reconciliation_reports
   SET entities = $3, current_entity = $4, seen = $5, expected = $6
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id
