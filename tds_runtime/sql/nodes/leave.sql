-- A node that ends in order: what it still holds can be taken at once.
UPDATE tds_nodes SET stopped_at = now() WHERE boot_id = $1;
