-- Removes the child rows that their document no longer contains. Relies on the unique index on (parent, key).
DELETE FROM {table} AS c
USING unnest($1::text[], $2::text[]) AS gone (source_id, key){also}
WHERE {owner} = gone.source_id{join} AND c.{key} = gone.key
