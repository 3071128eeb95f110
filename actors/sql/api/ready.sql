-- Whether a delivery could be stored on this server now: it is no standby, and its tables are there.
SELECT NOT pg_is_in_recovery() AND to_regclass('tds_inbox_events') IS NOT NULL
