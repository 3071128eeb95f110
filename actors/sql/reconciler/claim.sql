-- Takes the report that has waited longest. Relies on tds_reconciliation_reports_open and on SKIP LOCKED. $1 boot_id
UPDATE tds_reconciliation_reports AS r
   SET status = 'running', locked_by = $1, fence = r.fence + 1, attempt_count = r.attempt_count + 1,
       started_at = COALESCE(r.started_at, now())
 WHERE r.id = (SELECT id FROM tds_reconciliation_reports WHERE status = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
   AND r.status = 'pending'
RETURNING r.id, r.fence, r.entity_type, r.depth, r.repair, r.requested_by, r.reason, r.correlation_id, r.attempt_count,
          ARRAY(SELECT entity_type FROM tds_reconciliations WHERE report_id = r.id) AS stored
