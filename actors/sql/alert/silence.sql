-- Nobody is told of these alerts for a while. $1 matchers (JSON), $2 author, $3 comment, $4 seconds
INSERT INTO tds_silences (matchers, author, comment, expires_at)
VALUES ($1::jsonb, $2, $3, now() + $4::float8 * interval '1 second')
RETURNING id, matchers::text AS matchers, author, comment, created_at, expires_at
