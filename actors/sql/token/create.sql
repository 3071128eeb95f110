-- A new token; fails by the unique name when there is a living one (tds_tokens_name_key).
INSERT INTO tds_tokens (name, digest, role, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5)
