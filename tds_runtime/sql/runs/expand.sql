-- A run of everything becomes one run per entity; it stays running until they have ended. It is nobody's then, so that a
-- repetition, after an answer that was lost, finds nothing to do.
-- $1 id, $2 fence, $3 entities
WITH parent AS (
    UPDATE tds_sync_runs SET locked_by = NULL, listed_at = now()
     WHERE id = $1 AND fence = $2 AND status = 'running' AND locked_by IS NOT NULL
    RETURNING *
)
INSERT INTO tds_sync_runs (parent_id, entity_type, kind, requested_by, schedule, slot, args, correlation_id)
SELECT parent.id, entity, parent.kind, parent.requested_by, parent.schedule, parent.slot, parent.args,
       parent.correlation_id
  FROM parent, unnest($3::text[]) WITH ORDINALITY AS e (entity, place)
 ORDER BY place
RETURNING id;
