-- The work that a schedule ($1) made for a moment ($2). Relies on the indexes tds_*_slot below the view.
SELECT work, id, status, completed_at - started_at AS took, error
  FROM tds_scheduled_work WHERE schedule = $1 AND slot = $2 ORDER BY id DESC LIMIT 1
