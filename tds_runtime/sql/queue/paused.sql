-- Pauses that are in force.
SELECT entity_type, reason FROM tds_pauses WHERE until IS NULL OR until > now() ORDER BY entity_type;
