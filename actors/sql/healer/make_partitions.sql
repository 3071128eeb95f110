-- The days of the finished tasks ($1 ahead) and the months of the audit trail; harmless to repeat and for two nodes at once.
SELECT tds_create_partitions($1) + tds_create_audit_partitions()
