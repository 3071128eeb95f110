-- What only the owner of the tables may do (making, dropping and summarizing partitions) is done in the owner's name, so that
-- the daemon can work as a role that owns nothing: ops/postgres/roles.sql grants the rest. Nobody else may call these.
DO $$
DECLARE
    function text;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        'tds_create_partitions(integer)', 'tds_create_audit_partitions(integer)', 'tds_drop_partitions(interval)',
        'tds_drop_audit_partitions(interval)', 'tds_summarize_day(timestamptz)', 'tds_count_again()'
    ] LOOP
        -- pg_temp last: else a caller's temporary table could stand in for one of ours.
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_catalog, pg_temp',
                       function, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;
