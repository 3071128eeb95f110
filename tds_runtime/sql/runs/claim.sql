-- Takes up to $2 runs that wait, the oldest first; one run lists an entity at a time, whoever runs it.
-- Relies on the unique index tds_sync_runs_listing against two claimers that see the same entity free (error 23505: claim
-- again later), and on SKIP LOCKED. $1 boot_id, $2 limit
WITH picked AS MATERIALIZED (
    SELECT DISTINCT ON (r.entity_type) r.id
      FROM tds_sync_runs AS r
     WHERE r.status = 'pending' AND (r.available_at IS NULL OR r.available_at <= now())
       AND NOT EXISTS (
           SELECT FROM tds_sync_runs AS o
            WHERE o.status = 'running' AND o.entity_type = r.entity_type AND o.entity_type <> 'all'
              AND o.listed_at IS NULL)
     ORDER BY r.entity_type, r.id
), first AS MATERIALIZED (
    SELECT r.id
      FROM tds_sync_runs AS r
      JOIN picked USING (id)
     ORDER BY r.id
     LIMIT $2
       FOR UPDATE OF r SKIP LOCKED
)
UPDATE tds_sync_runs AS r
   SET status = 'running', locked_by = $1, fence = r.fence + 1, attempt_count = r.attempt_count + 1,
       started_at = COALESCE(r.started_at, now()), available_at = NULL,
       resumed = r.resumed OR r.position IS NOT NULL
  FROM first
 WHERE r.id = first.id AND r.status = 'pending'
RETURNING r.id, r.fence, r.parent_id, r.entity_type, r.kind, r.args::text AS args, r.correlation_id, r.attempt_count,
          r.resumed, r.position::text AS position, r.started_at, r.listed_at, r.schedule, r.enqueued;
