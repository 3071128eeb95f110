"""The whole daemon on one page: what is configured, and who runs under whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from actors import healer, metrics_reporter, schedules, webhooks
from actors.api import authentication
from actors.api.application import application
from actors.api.services import Services
from actors.entity_sync import entity_sync
from actors.healer import Retention
from actors.messages import Heal, Wake
from actors.storage import storage
from actors.ticker import ticker
from actors.zoho import absent, naming
from actors.zoho import client as zoho
from actors.zoho import entities as mappings
from tds_runtime import Child, Ref, Supervisor, cli, database, http, intake, logs, nodes, queue
from tds_runtime.embedded import Server
from tds_runtime.metrics import Metrics
from tds_runtime.schedule import Schedule


class EntityOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [entities]."""

    directory: Path = Path("config/entities")
    """One mapping file for each kind of record."""
    create_tables: bool | None = None
    """Make default target tables where they are absent; when nothing is said: only in the embedded Postgres."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that tds.toml may say."""

    database: database.Options
    runtime: cli.Options = cli.Options()
    http: http.Options = http.Options()
    webhooks: webhooks.Options = webhooks.Options()
    api: authentication.Options = authentication.Options()
    zoho: zoho.Options = zoho.Options()
    entities: EntityOptions = EntityOptions()
    queue: queue.Options = queue.Options()
    healer: healer.Options = healer.Options()
    retention: Retention = Retention()
    metrics: metrics_reporter.Options = metrics_reporter.Options()
    log: logs.Options = logs.Options()
    schedule: dict[str, Schedule] = {}

    @property
    def makes_tables(self) -> bool:
        """Whether default target tables are made where they are absent."""
        said = self.entities.create_tables
        return self.database.dsn == "embedded" if said is None else said


def tree(config: Config, host: cli.Host) -> Supervisor:
    """Make every actor with what it needs; nothing runs yet."""
    entities = mappings.load(config.entities.directory)
    store = database.Database(config.database)
    server = Server(config.database.data_directory) if config.database.dsn == "embedded" else None
    node = nodes.Node(store, lease=config.queue.lease)
    tasks = queue.Queue(store, boot_id=node.boot_id, options=config.queue)
    metrics = Metrics()

    syncs = {
        entity.name: entity_sync(entity=entity, database=store, queue=tasks, holds_lease=node.holds_lease).named(
            entity.name
        )
        for entity in entities
    }
    wakes = {name: sync.ref for name, sync in syncs.items()}
    writer = intake.writer(database=store, on_stored=lambda stored: wake(wakes, stored))
    healing = healer.healer(
        database=store, queue=tasks, metrics=metrics, options=config.healer, retention=config.retention, node=node.name
    )
    actions = schedules.actions(wake_pull=lambda: None, heal=lambda: healing.ref.offer(Heal()))
    schedules.check(config.schedule, actions)
    services = Services(
        database=store,
        queue=tasks,
        metrics=metrics,
        entities=entities,
        schedules=config.schedule,
        runtime=host.get,
        wake_pull=lambda: None,
        healer=healing.ref,
        writer=writer.ref,
        options=config.api,
        thresholds=config.healer.thresholds,
    )
    names = naming.Names(naming.kinds(entities))
    web = application(services, webhooks.routes(writer.ref, names, config.webhooks, metrics))

    work: list[Child] = [
        writer,
        nodes.node(
            database=store, node=node, queue=tasks, on_due=lambda due: wake(wakes, (entity for entity, _ in due))
        ),
        Supervisor("sync", children=list(syncs.values())),
        ticker(database=store, schedules=config.schedule, actions=actions),
        healing,
        metrics_reporter.metrics_reporter(
            database=store, metrics=metrics, runtime=host.get, options=config.metrics, node=node.name
        ),
        http.listener(app=web, sock=host.listening, options=config.http, observe=metrics.observe_request).options(
            stop=config.http.grace + 2
        ),
    ]
    return Supervisor(
        "tds",
        strategy="rest_for_one",
        children=[
            storage(
                database=store,
                server=server,
                statements=lambda: absent.statements(entities.tables) if config.makes_tables else (),
            ),
            Supervisor("work", children=work),
        ],
    )


def wake(wakes: Mapping[str, Ref[Wake]], entities: Iterable[str]) -> None:
    """Tell the actors of these entities that there is work; a full mailbox knows already."""
    for name in entities:
        if name in wakes:
            wakes[name].offer(Wake(name))
