-- A waiting payload lives for seconds: compressing it cost more than all else of writing it. Rows of listings stay in their
-- page up to 4,000 bytes, documents go beside it as they came.
ALTER TABLE tds_sync_queue_live ALTER payload SET STORAGE EXTERNAL;
ALTER TABLE tds_sync_queue_live SET (toast_tuple_target = 4080);
