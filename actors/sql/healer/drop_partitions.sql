-- Days of finished tasks older than $1 seconds, months of the audit trail older than $2 seconds.
SELECT tds_drop_partitions($1::float8 * interval '1 second')
     + tds_drop_audit_partitions($2::float8 * interval '1 second')
