-- What a run will take, reckoned before it begins, and since when a day's budget was watched: the two say how long it lasts.

ALTER TABLE tds_sync_runs ADD COLUMN plan jsonb;
ALTER TABLE tds_upstreams ADD COLUMN budget_first_remaining integer;
ALTER TABLE tds_upstreams ADD COLUMN budget_first_at timestamptz;
