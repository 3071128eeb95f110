-- Which mailboxes have work.
WITH RECURSIVE
--+ queue/work
--+ queue/work_found
;
