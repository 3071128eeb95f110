-- The rows as they stand before a batch writes them, locked in key order so that two batches never wait for each other
-- in a circle. Relies on the unique index on the id column. {placeholders} are filled in once, when a mapping is compiled.
SELECT t.{id}::text AS source_id, {local} AS local_id{columns}
FROM {table} AS t
WHERE t.{id} = ANY (ARRAY(SELECT json_array_elements_text($1::json)))
ORDER BY t.{id}
FOR NO KEY UPDATE OF t
