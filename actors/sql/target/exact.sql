-- Shared clause: whether the table keeps whatever it is given: a plain table whose columns are of just the mapping's types,
-- without triggers or rules. Relies on the indexes of the catalog.
SELECT c.relkind = 'r' AND NOT c.relhasrules
   AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
   AND (SELECT count(*) FROM pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypmod = -1 AND ({types})) = {count} AS exact
  FROM pg_class AS c
 WHERE c.oid = '{table}'::regclass
