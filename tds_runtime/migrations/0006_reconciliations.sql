-- What the reconciler found: one row per entity and comparison. Both sides' counts as they were at that time.
CREATE TABLE tds_reconciliations (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    compared_at      timestamptz NOT NULL DEFAULT now(),
    entity_type      text NOT NULL,
    source_count     bigint NOT NULL,
    local_count      bigint NOT NULL,
    match_percentage double precision NOT NULL CHECK (match_percentage BETWEEN 0 AND 100)
);
CREATE INDEX tds_reconciliations_entity ON tds_reconciliations (entity_type, compared_at DESC);
