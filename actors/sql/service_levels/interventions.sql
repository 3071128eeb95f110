-- What people did in [$1, $2) by the audit trail. Who acknowledges or silences has looked and changed nothing, who makes
-- or revokes a token administers, and a repair stands there beside the request for it. Relies on tds_audit_trail_actions.
SELECT count(*) AS actions
  FROM tds_audit_trail
 WHERE occurred_at >= $1 AND occurred_at < $2 AND actor <> 'tds-runtime' AND actor NOT LIKE 'schedule%'
   AND action LIKE '%.%'
   AND action NOT IN ('alert.acknowledge', 'silence.create', 'silence.expire', 'reconciliation.repair', 'token.create',
                      'token.revoke')
