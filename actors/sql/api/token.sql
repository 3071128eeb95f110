-- Whose living token has this digest. Relies on the unique index on digest.
SELECT name, role, digest
  FROM tds_tokens
 WHERE digest = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
