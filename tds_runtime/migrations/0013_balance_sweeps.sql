-- A kind of run of its own for what moves without its stamp and is no stock: balances of contacts.
ALTER TABLE tds_sync_runs DROP CONSTRAINT tds_sync_runs_kind_check;
ALTER TABLE tds_sync_runs ADD CONSTRAINT tds_sync_runs_kind_check
    CHECK (kind IN ('full', 'incremental', 'stock', 'balance', 'price_list'));
