-- Removes all child rows of deleted records. Relies on the unique index on (parent, key).
DELETE FROM {table} AS c{using}
WHERE {owner} = ANY ($1::text[]){join}
