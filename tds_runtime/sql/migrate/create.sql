-- The list of what was applied; runs inside the lock, before the first migration.
CREATE TABLE IF NOT EXISTS tds_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    release text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
