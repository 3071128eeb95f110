-- What people and schedules look at: alerts, samples of metrics, who may ask, and which slots of which schedule ran.

create table tds_alerts (
    id              bigint generated always as identity primary key,
    alert_type      text not null,
    severity        text not null check (severity in ('info', 'warning', 'error', 'critical')),
    title           text not null,
    message         text not null default '',
    metadata        jsonb not null default '{}',
    -- One cause has one open alert, whoever notices it and how often.
    cause           text not null,
    occurrences     bigint not null default 1,
    created_at      timestamptz not null default now(),
    last_seen_at    timestamptz not null default now(),
    acknowledged    boolean not null default false,
    acknowledged_by text,
    acknowledged_at timestamptz,
    comment         text,
    resolved_at     timestamptz
);
create unique index tds_alerts_open on tds_alerts (alert_type, cause) where resolved_at is null;
create index tds_alerts_created on tds_alerts (created_at);

create table tds_metrics (
    id           bigint generated always as identity primary key,
    metric_name  text not null,
    metric_value double precision not null,
    labels       jsonb not null default '{}',
    node         text not null default '',
    resolution   text not null default 'raw' check (resolution in ('raw', 'hour')),
    recorded_at  timestamptz not null default now()
);
create index tds_metrics_series on tds_metrics (metric_name, recorded_at);
create index tds_metrics_age on tds_metrics (resolution, recorded_at);

create table tds_tokens (
    id           bigint generated always as identity primary key,
    name         text not null unique check (name <> ''),
    -- SHA-256 of the token; the token itself is shown once, when it is made.
    digest       bytea not null unique check (length(digest) = 32),
    role         text not null check (role in ('viewer', 'operator')),
    created_at   timestamptz not null default now(),
    created_by   text not null default '',
    expires_at   timestamptz,
    revoked_at   timestamptz
);

create table tds_slots (
    schedule   text not null,
    slot       timestamptz not null,
    outcome    text not null,
    run_id     bigint,
    decided_at timestamptz not null default now(),
    detail     text not null default '',
    primary key (schedule, slot)
);
create index tds_slots_decided on tds_slots (decided_at);
