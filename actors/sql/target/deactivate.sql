-- Marks the rows of deleted records. Relies on the unique index on the id column.
UPDATE {table} AS t
SET {active} = false{touched}
WHERE t.{id} = ANY ($1::text[])
