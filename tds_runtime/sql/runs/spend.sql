-- Adds what calls to the source cost to the runs that they were made for, whoever holds them by now: they were made.
-- $1 ids in order, so that two nodes never wait for each other in a circle, $2 calls, $3 bytes
UPDATE tds_sync_runs AS r
   SET calls = r.calls + s.calls, bytes = r.bytes + s.bytes
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS s (id, calls, bytes)
 WHERE r.id = s.id;
