-- Relations that bear our prefix in a schema without our list of migrations.
SELECT relname
  FROM pg_class
 WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname LIKE 'tds\_%' AND relkind IN ('r', 'p', 'v', 'm', 'f')
 ORDER BY relname;
