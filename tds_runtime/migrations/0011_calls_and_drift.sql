-- What a run costs at the source, its detail calls included, and the keys of documents that no mapping knows.
ALTER TABLE tds_sync_runs
    ADD COLUMN calls bigint NOT NULL DEFAULT 0,
    ADD COLUMN bytes bigint NOT NULL DEFAULT 0;   -- of answers, unpacked

CREATE TABLE tds_source_drift (
    entity_type text NOT NULL,
    key text NOT NULL,
    seen bigint NOT NULL DEFAULT 0,        -- documents that had it
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity_type, key)
) WITH (fillfactor = 70);
