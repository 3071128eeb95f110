-- Records the outcome of one slot; returns nothing when it has one already, and then nothing may run for it.
-- Relies on the primary key (schedule, slot): a slot is decided once in the fleet. $5 the leader's epoch (NULL: a person)
INSERT INTO tds_slots (schedule, slot, outcome, detail, epoch)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (schedule, slot) DO NOTHING
RETURNING slot
