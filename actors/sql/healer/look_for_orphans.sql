-- Whether it is time to read the child tables, which is said to one node in $1 seconds. Relies on the primary key.
INSERT INTO tds_configuration AS c (key, value, updated_by) VALUES ('healer.orphans', '{}', 'healer')
ON CONFLICT (key) DO UPDATE SET updated_at = now()
 WHERE c.updated_at < now() - $1::float8 * interval '1 second'
RETURNING key
