-- What the source counted before the listing.
UPDATE tds_sync_runs SET expected = $3 WHERE id = $1 AND fence = $2 AND status = 'running' RETURNING id;
