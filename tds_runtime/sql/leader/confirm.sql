-- In the transaction of a leader's write: the row lock keeps a successor from taking over before it commits.
SELECT true FROM tds_leaders WHERE name = $1 AND boot_id = $2 AND epoch = $3 FOR SHARE;
