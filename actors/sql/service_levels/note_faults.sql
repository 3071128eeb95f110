-- Faults that are over. $1 kinds, $2 subjects, $3 begins, $4 ends, $5 node. Told twice is once.
INSERT INTO tds_faults (kind, subject, node, began_at, ended_at)
SELECT kind, subject, $5, began_at, ended_at
  FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS fault (kind, subject, began_at, ended_at)
ON CONFLICT DO NOTHING
