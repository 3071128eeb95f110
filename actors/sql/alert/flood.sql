-- By channel: how many notifications it was given since $1, and the subjects of those that were held back.
SELECT n.channel, count(*) FILTER (WHERE n.status IN ('pending', 'sent', 'failed') AND n.created_at > $1) AS given,
       array_agg(n.letter ->> 'subject' ORDER BY n.id) FILTER (WHERE n.status = 'suppressed' AND NOT n.summarized) AS held
  FROM tds_notifications AS n
 WHERE n.created_at > $1 OR (n.status = 'suppressed' AND NOT n.summarized)
 GROUP BY n.channel
