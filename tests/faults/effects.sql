-- What really happened, in the order of the commits: written by deferred triggers that run at COMMIT, one transaction at
-- a time, so that `id` is the order in which the effects became visible. Relies on the products of `faults.history.Delivery`:
-- version n has the price n, and the stamp n seconds into 2 January 2026 at +0300. A row that is deleted or deactivated
-- has no price of its own version, so its record's state says which it was.
CREATE TABLE effects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,           -- row: of products; state: of tds_record_state
    record text NOT NULL,
    version integer NOT NULL,     -- 0 where nobody knows
    action text NOT NULL,         -- write or delete
    content text NOT NULL,        -- of a row its name
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    txid bigint NOT NULL DEFAULT txid_current()
);

CREATE FUNCTION effects_version(stamp timestamptz) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT COALESCE(extract(epoch FROM stamp - timestamptz '2026-01-02 00:00:00+03')::integer, 0)
$$;

CREATE FUNCTION effects_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone boolean := TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.is_active AND NOT NEW.is_active);
BEGIN
    PERFORM pg_advisory_xact_lock(830177);
    INSERT INTO effects (kind, record, version, action, content)
    SELECT 'row', row.zoho_item_id, CASE WHEN gone THEN COALESCE(stamped.version, 0) ELSE COALESCE(row.price, 0)::integer END,
           CASE WHEN gone THEN 'delete' ELSE 'write' END, COALESCE(row.name, '')
      FROM (SELECT (CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END).*) AS row
      LEFT JOIN (SELECT source_entity_id, effects_version(modified_at) AS version
                   FROM tds_record_state WHERE entity_type = 'product') AS stamped
        ON stamped.source_entity_id = row.zoho_item_id;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER effects_of_rows AFTER INSERT OR UPDATE OR DELETE ON products
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION effects_of_rows();

CREATE FUNCTION effects_of_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(830177);
    IF NEW.entity_type = 'product' THEN
        INSERT INTO effects (kind, record, version, action, content)
        VALUES ('state', NEW.source_entity_id, effects_version(NEW.modified_at),
                CASE WHEN NEW.tombstoned_at IS NULL THEN 'write' ELSE 'delete' END, NEW.facets::text);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER effects_of_new_state AFTER INSERT ON tds_record_state
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION effects_of_state();
CREATE CONSTRAINT TRIGGER effects_of_state AFTER UPDATE ON tds_record_state
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.modified_at, OLD.tombstoned_at, OLD.facets) IS DISTINCT FROM (NEW.modified_at, NEW.tombstoned_at, NEW.facets))
    EXECUTE FUNCTION effects_of_state();
