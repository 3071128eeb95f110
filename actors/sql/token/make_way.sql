-- A name is free again once its token was revoked or has expired.
DELETE FROM tds_tokens WHERE name = $1 AND (revoked_at IS NOT NULL OR expires_at < now())
