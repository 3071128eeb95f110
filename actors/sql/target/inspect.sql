-- What a table is in the database: whether it is there, what it says about its maker, its columns.
SELECT c.oid::bigint AS oid, obj_description(c.oid, 'pg_class') AS comment,
       ARRAY (SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       ARRAY (SELECT format_type(a.atttypid, NULL) FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS types,
       ARRAY (SELECT (SELECT string_agg(a.attname::text, ',' ORDER BY a.attname) FROM pg_attribute AS a
                      WHERE a.attrelid = c.oid AND a.attnum = ANY ((x.indkey::smallint[])[0 : x.indnkeyatts - 1]))
              FROM pg_index AS x
              WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indimmediate
                AND x.indpred IS NULL AND x.indexprs IS NULL) AS uniques
FROM pg_class AS c
WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'f', 'v')
