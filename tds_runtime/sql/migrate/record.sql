-- Commits together with what it records.
INSERT INTO tds_migrations (version, name, checksum, release) VALUES ($1, $2, $3, $4);
