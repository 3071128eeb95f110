-- What is wrong with the next rows of a table, and how far that was: the last row comes whatever it is like, `place` counts.
-- Relies on the unique index on the keys; reads at most $3 rows. {placeholders} are filled in when a check is compiled.
-- $1 and $2 keys of the last row seen, $3 limit
WITH page AS MATERIALIZED (
    SELECT {record}::text AS record, {part}::text AS part, row_number() OVER (ORDER BY {keys}) AS place,
           array_remove(ARRAY[{problems}]::text[], NULL) AS problems
      FROM (SELECT * FROM {table} AS t WHERE {behind} ORDER BY {keys} LIMIT $3) AS t
)
SELECT record, part, place, problems
  FROM page
 WHERE cardinality(problems) > 0 OR place = (SELECT max(place) FROM page)
 ORDER BY place
