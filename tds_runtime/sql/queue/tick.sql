-- What a node asks each second: promote what is due, and say which mailboxes have work, the promoted included (they are not
-- in this statement's own snapshot). $1 limit
WITH RECURSIVE
--+ queue/promoted
,
--+ queue/work
--+ queue/work_found
UNION
SELECT entity_type, CASE operation WHEN 'fetch' THEN 'fetch' ELSE 'upsert' END FROM promoted;
