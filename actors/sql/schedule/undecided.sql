-- How many of the slots ($2) of a schedule ($1) have no outcome. Relies on the primary key (schedule, slot).
SELECT count(*) FROM unnest($2::timestamptz[]) AS named (slot)
 WHERE NOT EXISTS (SELECT FROM tds_slots AS s WHERE s.schedule = $1 AND s.slot = named.slot)
