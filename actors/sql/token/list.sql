-- The tokens that work now. The table is small: one row for each person or program.
SELECT name, role, created_at, created_by, expires_at
  FROM tds_tokens
 WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
 ORDER BY name
