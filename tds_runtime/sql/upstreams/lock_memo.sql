-- Held until the caller's transaction ends: one holder in the fleet, who reads what the one before wrote. No row: another
-- node holds it; who waits does so outside of Postgres, because the holder is in the middle of a call to somebody slow.
SELECT value FROM tds_memos WHERE name = $1 FOR UPDATE SKIP LOCKED;
