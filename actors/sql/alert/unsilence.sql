-- A silence ends now; it stays on record. Returns nothing for one that is over or unknown.
UPDATE tds_silences SET expires_at = now() WHERE id = $1 AND expires_at > now() RETURNING id
