-- Sums up the complete hours of the last day and a half that have no hourly row yet; returns how many rows that made.
-- Relies on the unique index of hourly rows: a second node makes none.
WITH made AS (
    INSERT INTO tds_metrics (metric_name, metric_value, labels, node, resolution, recorded_at)
    SELECT metric_name, avg(metric_value), labels, node, 'hour', date_trunc('hour', recorded_at)
      FROM tds_metrics
     WHERE resolution = 'raw'
       AND recorded_at >= date_trunc('hour', now()) - interval '36 hours'
       AND recorded_at < date_trunc('hour', now())
     GROUP BY metric_name, labels, node, date_trunc('hour', recorded_at)
    ON CONFLICT (metric_name, labels, node, recorded_at) WHERE resolution = 'hour' DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM made
