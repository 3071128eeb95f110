-- Removes the rows of deleted records; their children went before. Relies on the unique index on the id column.
DELETE FROM {table} AS t
WHERE t.{id} = ANY ($1::text[])
