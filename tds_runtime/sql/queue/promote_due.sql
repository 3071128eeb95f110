-- How many tasks became claimable. $1 limit
WITH
--+ queue/promoted
SELECT count(*) FROM promoted;
