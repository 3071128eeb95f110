-- Keeps what decides how tasks of each entity end ($1 entities, $2 fingerprints), and since when it is that.
-- Relies on the key being the primary key; one that is as it was keeps its time.
INSERT INTO tds_configuration AS c (key, value, updated_by, updated_at)
SELECT 'healer.fingerprint.' || entity, to_jsonb(fingerprint), 'healer', now()
  FROM unnest($1::text[], $2::text[]) AS given (entity, fingerprint) ORDER BY entity
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, updated_by = EXCLUDED.updated_by, updated_at = now()
 WHERE c.value <> EXCLUDED.value
