-- Relies on: tds_sync_queue_live_claim for the order, a probe of tds_sync_queue_live_processing for each candidate (one
-- record, one task in flight; the index makes it a constraint), SKIP LOCKED against other claimers. The attempt is
-- counted here, so that a task which kills its process runs out of attempts too.
-- $1 entity_type, $2 limit, $3 boot_id, $4 suspects: 'alone' or 'skip'
WITH
--+ queue/pick
--+ queue/task
