-- The schedules that a person has paused: name, who, why. Relies on the key being the primary key.
SELECT split_part(key, '.', 2) AS name, updated_by, value ->> 'reason' AS reason, updated_at
  FROM tds_configuration
 WHERE key LIKE 'schedule.%.paused'
