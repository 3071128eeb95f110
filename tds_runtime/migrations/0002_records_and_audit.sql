-- What version of each record is stored, and what every effect changed.

-- One narrow row per record. `facets` holds a hash per part of the record (list row, detail, each child table) over its
-- mapped values; `current_facets` names those that were seen at `modified_at`, the others are from older versions.
-- `tombstoned_at`: deleted at the source; only a pull that began later brings the record back.
CREATE TABLE tds_record_state (
    entity_type text COLLATE "C" NOT NULL,
    source_entity_id text COLLATE "C" NOT NULL,
    variant text NOT NULL DEFAULT '',
    modified_at timestamptz,
    observed_at timestamptz,
    tombstoned_at timestamptz,
    facets jsonb NOT NULL DEFAULT '{}',
    current_facets text[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity_type, source_entity_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX tds_record_state_tombstones ON tds_record_state (entity_type, source_entity_id)
    WHERE tombstoned_at IS NOT NULL;

-- One row per change of a record: insert, update, deactivate, delete, with what stood there before and what stands there
-- now, changed columns only (all of them for an insert). Folding `after` in the order of `id` gives the table again.
-- Actions of operators stand here too, then with the record's columns empty where there is none.
CREATE SEQUENCE tds_audit_trail_id_seq AS bigint CACHE 1;
CREATE TABLE tds_audit_trail (
    id bigint NOT NULL DEFAULT nextval('tds_audit_trail_id_seq'),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    task_id bigint,
    run_id bigint,
    source_modified_at timestamptz,
    action text NOT NULL,
    entity_type text NOT NULL DEFAULT '',
    source_entity_id text COLLATE "C" NOT NULL DEFAULT '',
    local_id text,
    actor text NOT NULL DEFAULT 'tds-runtime',
    reason text NOT NULL DEFAULT '',
    correlation_id text NOT NULL DEFAULT '',
    before jsonb,
    after jsonb
) PARTITION BY RANGE (occurred_at);
ALTER SEQUENCE tds_audit_trail_id_seq OWNED BY tds_audit_trail.id;
CREATE INDEX tds_audit_trail_order ON tds_audit_trail (id);
CREATE INDEX tds_audit_trail_record ON tds_audit_trail (entity_type, source_entity_id, id);
-- For months that nobody made.
CREATE TABLE tds_audit_trail_default PARTITION OF tds_audit_trail DEFAULT;

-- Makes the month partitions from this month to `ahead` months from now; harmless to repeat, and for two nodes at once.
CREATE FUNCTION tds_create_audit_partitions(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    month date;
    following date;
    partition text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7305801316121089636);
    FOR offset_months IN 0..ahead LOOP
        month := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => offset_months))::date;
        following := (month + interval '1 month')::date;
        partition := 'tds_audit_trail_' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        CONTINUE WHEN EXISTS (
            SELECT FROM tds_audit_trail_default
             WHERE occurred_at >= month::timestamp AT TIME ZONE 'UTC'
               AND occurred_at < following::timestamp AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TABLE %I (LIKE tds_audit_trail INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
                       partition);
        EXECUTE format('ALTER TABLE tds_audit_trail ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition,
                       month::timestamp AT TIME ZONE 'UTC', following::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Drops the months that ended longer ago than `keep`; returns how many.
CREATE FUNCTION tds_drop_audit_partitions(keep interval DEFAULT '400 days') RETURNS integer
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7305801316121089636);
    FOR partition IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'tds_audit_trail'::regclass AND c.relname ~ '^tds_audit_trail_\d{6}$'
           AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' < (now() - keep) AT TIME ZONE 'UTC'
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

SELECT tds_create_audit_partitions();
