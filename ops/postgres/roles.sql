-- Roles with no more rights than they need. Run it with psql as the owner of the schema, after `tds-runtime migrate`, and
-- again after each upgrade; it is harmless to repeat:
--
--     psql -v ON_ERROR_STOP=1 -v schema=public -f roles.sql "$OWNER_DSN"
--
-- The owner migrates (`tds-runtime migrate` with the owner's DSN). The daemon runs as a login that is a member of
-- tds_worker, which also needs SELECT, INSERT, UPDATE and DELETE on the ERP's own tables that the mappings name:
--
--     CREATE ROLE tds LOGIN PASSWORD '...' IN ROLE tds_worker;
--     GRANT SELECT, INSERT, UPDATE, DELETE ON products, invoices, invoice_lines TO tds_worker;
--
-- tds_ingest stores webhooks and nothing else; tds_reader is for dashboards and people who only look.
\if :{?schema}
\else
    \set schema public
\endif
SET search_path = :"schema";

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['tds_ingest', 'tds_worker', 'tds_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;                 -- from before, or another database of this server got them in this moment
        END;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
    END LOOP;
END
$$;

-- Ingest: what acknowledging a webhook writes. It reads no body and no payload back.
GRANT INSERT ON tds_inbox_events TO tds_ingest;
GRANT SELECT, INSERT, UPDATE ON tds_last_deliveries, tds_event_keys, tds_sync_queue_live TO tds_ingest;
GRANT USAGE ON SEQUENCE tds_inbox_events_id_seq, tds_sync_queue_id_seq TO tds_ingest;

-- Worker: every row of ours, but no history is rewritten: the trail and the list of migrations are only read and added to.
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN               -- the days and months are reached through their parents
        SELECT c.oid FROM pg_class AS c
         WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname LIKE 'tds\_%'
           AND c.relkind IN ('r', 'p', 'v') AND c.relname !~ '_\d{6,8}$'
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO tds_worker', relation);
        IF relation NOT IN ('tds_audit_trail'::regclass, 'tds_audit_trail_default'::regclass, 'tds_migrations'::regclass) THEN
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO tds_worker', relation);
        END IF;
        -- Reader: no secrets, not even hashed or sealed ones, and no bodies.
        IF relation NOT IN ('tds_tokens'::regclass, 'tds_memos'::regclass, 'tds_inbox_events'::regclass) THEN
            EXECUTE format('GRANT SELECT ON %s TO tds_reader', relation);
        END IF;
    END LOOP;
    FOR relation IN
        SELECT c.oid FROM pg_class AS c
         WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname LIKE 'tds\_%' AND c.relkind = 'S'
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO tds_worker', relation);
    END LOOP;
END
$$;
GRANT INSERT ON tds_audit_trail TO tds_worker;
GRANT SELECT (id, received_at, modified_at, source, entity_type, source_entity_id, operation, variant, correlation_id,
              idempotency_key) ON tds_inbox_events TO tds_reader;
GRANT EXECUTE ON FUNCTION
    tds_create_partitions(integer), tds_create_audit_partitions(integer), tds_drop_partitions(interval),
    tds_drop_audit_partitions(interval), tds_summarize_day(timestamptz) TO tds_worker;
