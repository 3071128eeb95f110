-- One row per upstream, made once.
INSERT INTO tds_upstreams (name) SELECT unnest($1::text[]) ORDER BY 1 ON CONFLICT (name) DO NOTHING;
