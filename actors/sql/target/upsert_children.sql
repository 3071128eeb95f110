-- Writes child rows by their parent and key. Relies on the unique index on (parent, key); pairs are distinct within one
-- call, and the parents were written before.
INSERT INTO {table} ({parent}, {names})
SELECT {owner}, {values}
FROM json_to_recordset($1::json) AS i ({definitions}){join}
ON CONFLICT ({parent}, {key}) DO UPDATE SET {assignments}
