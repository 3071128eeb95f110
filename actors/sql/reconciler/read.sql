-- One report. Relies on the primary key.
SELECT
--+ reconciler/columns
  FROM tds_reconciliation_reports AS r
 WHERE r.id = $1
