-- Whether the list of migrations is ours (told by its columns: another application may have a table of that name), and else
-- what bears our prefix. One statement: with two, a neighbour's first migration could commit in between.
SELECT (SELECT count(*) = 3
          FROM pg_attribute
         WHERE attrelid = to_regclass('tds_migrations') AND attname IN ('version', 'checksum', 'release')
           AND NOT attisdropped) AS ours,
       ARRAY(SELECT relname::text
               FROM pg_class
              WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname LIKE 'tds\_%'
                AND relkind IN ('r', 'p', 'v', 'm', 'f')
              ORDER BY relname) AS found;
