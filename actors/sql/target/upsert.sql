-- Writes rows by their source id, and says of each whether the table kept what it was given (a trigger or a narrower
-- type may change it). Relies on the unique index on the id column; ids are distinct within one call and in key order. Rows
-- are compared only where the catalog, asked once a call, does not rule out that anything changes them.
-- Each column comes as one JSON array: the server reads that in half the time that it needs for an object a row, and
-- encoding arrays of the protocol costs the client five times as much.
WITH incoming AS MATERIALIZED (
    SELECT {casts} FROM ROWS FROM ({elements}) AS i ({names})
), written AS (
    INSERT INTO {table} AS t ({names}{touched})
    SELECT {values}{now} FROM incoming AS i
    ON CONFLICT ({id}) DO UPDATE SET {assignments}
    RETURNING {returned}
), kept AS MATERIALIZED (
{exact})
SELECT w.{id}::text AS source_id, {local} AS local_id, true AS faithful
FROM written AS w
WHERE (SELECT exact FROM kept)
UNION ALL
SELECT w.{id}::text AS source_id, {local} AS local_id, {faithful} AS faithful
FROM written AS w
JOIN incoming AS i ON i.{id} = w.{id}::text
WHERE NOT (SELECT exact FROM kept)
