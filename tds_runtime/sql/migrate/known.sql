-- Our own list of migrations is told by its columns: another application may have a table of the same name.
SELECT count(*) = 3
  FROM pg_attribute
 WHERE attrelid = to_regclass('tds_migrations') AND attname IN ('version', 'checksum', 'release') AND NOT attisdropped;
