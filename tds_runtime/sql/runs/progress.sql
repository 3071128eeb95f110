-- One step of a listing, in the transaction that enqueues what it found: counts, where it goes on, what it saw.
-- A step whose COMMIT got no answer is repeated: its position stands already, so it counts nothing a second time.
-- Relies on (id, fence, running) being the caller's: a run that was cancelled or taken over changes nothing and says so.
-- $1 id, $2 fence, $3 position, $4 pages, $5 listed, $6 unchanged, $7 enqueued, $8 coalesced, $9 variant, $10 page, $11 ids,
-- $12 calls, $13 bytes
WITH held AS (
    UPDATE tds_sync_runs AS r
       SET position = $3::jsonb, pages = r.pages + step.pages, listed = r.listed + step.listed,
           unchanged = r.unchanged + step.unchanged, enqueued = r.enqueued + step.enqueued,
           coalesced = r.coalesced + step.coalesced, calls = r.calls + step.calls, bytes = r.bytes + step.bytes
      FROM (VALUES ($4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bigint, $12::bigint, $13::bigint, false),
                   (0, 0, 0, 0, 0, 0, 0, true))
           AS step (pages, listed, unchanged, enqueued, coalesced, calls, bytes, repeated)
     WHERE r.id = $1 AND r.fence = $2 AND r.status = 'running'
       AND step.repeated = (r.position IS NOT DISTINCT FROM $3::jsonb)
    RETURNING r.id
), seen AS (
    INSERT INTO tds_sync_run_pages (run_id, variant, page, ids)
    SELECT id, $9, $10, $11::text[] FROM held WHERE $11::text[] IS NOT NULL
    ON CONFLICT (run_id, variant, page) DO UPDATE SET ids = EXCLUDED.ids
)
SELECT id FROM held;
