-- What durability rests on. reset_val is what the server, the database or the role say, not what this session says.
SELECT current_setting('server_version_num')::integer AS version,
       pg_encoding_to_char(encoding) AS encoding,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit
  FROM pg_database
 WHERE datname = current_database();
