-- One row per memo, made once.
INSERT INTO tds_memos (name) VALUES ($1) ON CONFLICT (name) DO NOTHING;
