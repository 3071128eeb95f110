-- Tasks finished in the last 24 hours. Relies on tds_sum_up_finished being called now and then: only minutes are read.
SELECT completed, cancelled FROM tds_count_finished(now() - interval '24 hours')
