-- What every entity's records went through, in the order of the commits: written by deferred triggers that run at COMMIT,
-- one transaction at a time. Relies on the mark that each edit leaves in a column of the record: "mark 12" is version 12.
CREATE TABLE passages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,           -- row: of a target table; state: of tds_record_state
    record text NOT NULL,         -- entity/id
    version bigint NOT NULL,      -- of a row its mark, of a state its stamp
    action text NOT NULL,         -- write or delete
    content text NOT NULL
);

CREATE FUNCTION passages_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    standing jsonb := to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END) - 'id' - 'updated_at';
    gone boolean := TG_OP = 'DELETE' OR EXISTS (
        SELECT FROM tds_record_state WHERE entity_type = TG_ARGV[0] AND source_entity_id = standing ->> TG_ARGV[1]
           AND tombstoned_at IS NOT NULL);
BEGIN
    PERFORM pg_advisory_xact_lock(830177);
    INSERT INTO passages (kind, record, version, action, content)
    VALUES ('row', TG_ARGV[0] || '/' || (standing ->> TG_ARGV[1]),
            COALESCE(substring(standing ->> TG_ARGV[2] FROM 'mark (\d+)')::bigint, 0),
            CASE WHEN gone THEN 'delete' ELSE 'write' END, md5(standing::text));
    RETURN NULL;
END
$$;

CREATE FUNCTION passages_of_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(830177);
    INSERT INTO passages (kind, record, version, action, content)
    VALUES ('state', NEW.entity_type || '/' || NEW.source_entity_id,
            COALESCE(extract(epoch FROM NEW.modified_at)::bigint, 0),
            CASE WHEN NEW.tombstoned_at IS NULL THEN 'write' ELSE 'delete' END, NEW.facets::text);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER passages_of_state AFTER INSERT OR UPDATE ON tds_record_state
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION passages_of_state();
