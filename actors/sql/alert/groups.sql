-- What was told together and may have news.
SELECT route, group_key, first_at, notified_at, told FROM tds_alert_groups
