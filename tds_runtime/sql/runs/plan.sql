-- What the run will take, and how many records the source counted (kept when it did not say).
-- $1 id, $2 fence, $3 plan, $4 expected
UPDATE tds_sync_runs SET plan = $3::jsonb, expected = COALESCE($4, expected)
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id;
