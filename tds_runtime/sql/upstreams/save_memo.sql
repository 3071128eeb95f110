-- Relies on the row lock of lock_memo, in the same transaction.
UPDATE tds_memos SET value = $2, updated_at = clock_timestamp() WHERE name = $1;
