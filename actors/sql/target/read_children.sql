-- The child rows of these records as they stand before a batch replaces them. Relies on the unique index on
-- (parent, key).
SELECT {owner}::text AS source_id, c.{key}::text AS key{columns}
FROM {table} AS c{join}
WHERE {owner} = ANY ($1::text[])
ORDER BY 1, 2
