-- Ends a report, well ($3 NULL) or badly, with the share of records that match over all its entities; where only counts were
-- compared, the smaller side stands for what matches. Relies on the primary key and on tds_reconciliations_report.
-- $1 id, $2 fence, $3 error code, $4 error message
UPDATE tds_reconciliation_reports AS r
   SET status = CASE WHEN $3::text IS NULL THEN 'completed' ELSE 'failed' END, completed_at = now(), locked_by = NULL,
       current_entity = '', error_code = $3, error_message = left($4, 2000), match_percentage = total.percentage
  FROM (SELECT CASE WHEN sum(counts.everything) > 0 THEN 100.0 * sum(counts.matched) / sum(counts.everything)
                    WHEN count(*) > 0 THEN 100.0 END AS percentage
          FROM tds_reconciliations AS c
         CROSS JOIN LATERAL (
               SELECT COALESCE(c.matched, LEAST(c.source_count, c.local_count)) AS matched,
                      COALESCE(c.matched + c.missing + c.extra + c.different, GREATEST(c.source_count, c.local_count))
                      AS everything) AS counts
         WHERE c.report_id = $1) AS total
 WHERE r.id = $1 AND r.fence = $2 AND r.status = 'running'
RETURNING r.match_percentage
