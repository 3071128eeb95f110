-- Names the run of a slot, in the transaction that decided the slot.
UPDATE tds_slots SET run_id = $3 WHERE schedule = $1 AND slot = $2
