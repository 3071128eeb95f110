-- Writes rows by their source id, and says of each whether the table kept what it was given (a trigger or a narrower
-- type may change it). Relies on the unique index on the id column; ids are distinct within one call and in key order.
-- Rows come as one JSON text: encoding twenty arrays costs the client four times as much, and the server no less.
WITH incoming AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS i ({definitions})
), written AS (
    INSERT INTO {table} AS t ({names}{touched})
    SELECT {values}{now} FROM incoming AS i
    ON CONFLICT ({id}) DO UPDATE SET {assignments}
    RETURNING {returned}
)
SELECT w.{id}::text AS source_id, {local} AS local_id, {faithful} AS faithful
FROM written AS w
JOIN incoming AS i ON i.{id} = w.{id}::text
