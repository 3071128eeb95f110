-- Ascending: the last one decides whether this release may run.
SELECT version FROM tds_migrations ORDER BY version;
