-- What a node asks each second: promote what is due, and say which mailboxes have work, the promoted included (they are not
-- in this statement's own snapshot), and whether a run waits to be pulled: ('all', 'run'), a report: ('all', 'report'), or a
-- healing, one whose owner is dead included: ('all', 'heal'). $1 limit
WITH RECURSIVE
--+ queue/promoted
,
--+ queue/work
--+ queue/work_found
UNION
SELECT entity_type, CASE operation WHEN 'fetch' THEN 'fetch' ELSE 'upsert' END FROM promoted
UNION
SELECT 'all', 'run' WHERE EXISTS (
    SELECT FROM tds_sync_runs WHERE status = 'pending' AND (available_at IS NULL OR available_at <= now()))
UNION
SELECT 'all', 'report' WHERE EXISTS (SELECT FROM tds_reconciliation_reports WHERE status = 'pending')
UNION
SELECT 'all', 'heal' WHERE EXISTS (
    SELECT FROM tds_healer_runs AS h LEFT JOIN tds_nodes AS n ON n.boot_id = h.locked_by
     WHERE h.status IN ('pending', 'running')
       AND (h.status = 'pending' OR n.boot_id IS NULL OR n.stopped_at IS NOT NULL
            OR now() - n.renewed_at NOT BETWEEN -n.lease AND n.lease));
