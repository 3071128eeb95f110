-- A finished task goes where it fits: a short one into what an early page has left. With one interval a range of pages, a
-- single late row made its range as wide as the day, and every count of the last minutes read the day. Several intervals a
-- range (PostgreSQL 14) keep the gap between them.
DROP INDEX tds_sync_queue_done_order;
CREATE INDEX tds_sync_queue_done_order ON tds_sync_queue_done
    USING brin (id int8_minmax_multi_ops, completed_at timestamptz_minmax_multi_ops) WITH (pages_per_range = 16);
