-- The silences that are not over at $1, oldest first; with $2 the last hundred that are over as well.
(SELECT id, matchers::text AS matchers, author, comment, created_at, expires_at
   FROM tds_silences WHERE expires_at > $1 ORDER BY id)
UNION ALL
(SELECT id, matchers::text AS matchers, author, comment, created_at, expires_at
   FROM tds_silences WHERE $2 AND expires_at <= $1 ORDER BY id DESC LIMIT 100)
