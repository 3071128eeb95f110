-- Child rows whose parent is not there, up to a limit. Reads the whole child table, for reports only.
SELECT c.{parent}::text AS parent, c.{key}::text AS key
FROM {table} AS c
WHERE NOT EXISTS (SELECT FROM {parent_table} AS t WHERE t.{parent_key} = c.{parent})
LIMIT $1
