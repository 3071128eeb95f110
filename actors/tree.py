"""The whole daemon on one page: what is configured, and who runs under whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Never

from msgspec import Struct
from msgspec.structs import replace

from actors import fetcher, healer, metrics_reporter, pull, reconciler, schedules, webhooks
from actors.api import authentication
from actors.api.application import application
from actors.api.services import Services
from actors.entity_sync import entity_sync
from actors.healer import Retention
from actors.messages import Compare, Heal, RunWake, Wake
from actors.sandbox import options as sandbox
from actors.sandbox_process import Options as SandboxOptions
from actors.sandbox_process import sandbox_process
from actors.source import source
from actors.storage import storage
from actors.strays import strays
from actors.ticker import ticker
from actors.zoho import absent, naming
from actors.zoho import client as zoho
from actors.zoho import entities as mappings
from actors.zoho.images import Pictures
from actors.zoho.seal import Seal
from actors.zoho.tokens import Fleet
from tds_runtime import Budget, Child, Ref, Spec, Supervisor, cli, database, http, intake, logs, nodes, queue
from tds_runtime.embedded import Server
from tds_runtime.metrics import Metrics
from tds_runtime.schedule import Schedule
from tds_runtime.upstreams import Shared
from tds_runtime.values import Secret

Due = Callable[[Iterable[tuple[str, str]]], None]

ALONE = Budget(5, per=60)
"""An actor that crashes more often is put aside and tried again by itself; its neighbours never notice."""


class EntityOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [entities]."""

    directory: Path = Path("config/entities")
    """One mapping file for each kind of record."""
    create_tables: bool | None = None
    """Make default target tables where they are absent; when nothing is said: only in the embedded Postgres."""


class ImageOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [images]."""

    directory: Path | None = None
    """Where pictures of items are kept; when nothing is said none are fetched."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that tds.toml may say."""

    database: database.Options
    runtime: cli.Options = cli.Options()
    http: http.Options = http.Options()
    webhooks: webhooks.Options = webhooks.Options()
    api: authentication.Options = authentication.Options()
    zoho: zoho.Options = zoho.Options()
    entities: EntityOptions = EntityOptions()
    images: ImageOptions = ImageOptions()
    queue: queue.Options = queue.Options()
    pull: pull.Options = pull.Options()
    fetcher: fetcher.Options = fetcher.Options()
    healer: healer.Options = healer.Options()
    retention: Retention = Retention()
    reconciler: reconciler.Options = reconciler.Options()
    metrics: metrics_reporter.Options = metrics_reporter.Options()
    sandbox: SandboxOptions = SandboxOptions()
    log: logs.Options = logs.Options()
    schedule: dict[str, Schedule] = {}

    def resolved(self, address: str) -> Config:
        """With a sandbox: what is not said about the source is the sandbox's, and its webhooks come to `address`."""
        if not self.sandbox.enabled:
            return self
        url = f"http://127.0.0.1:{self.sandbox.port}"
        source = replace(
            self.zoho,
            organization_id=self.zoho.organization_id or sandbox.ORGANIZATION_ID,
            client_id=self.zoho.client_id or sandbox.CLIENT_ID,
            client_secret=self.zoho.client_secret or Secret(sandbox.CLIENT_SECRET),
            refresh_token=self.zoho.refresh_token or Secret(sandbox.REFRESH_TOKEN),
            accounts_url=self.zoho.accounts_url or url,
            api_url=self.zoho.api_url or url,
        )
        secrets = self.webhooks.secrets or (Secret(sandbox.WEBHOOK_SECRET),)
        deliver_to = self.sandbox.deliver_to or f"http://{address}{webhooks.CATCH_ALL}"
        return replace(
            self,
            zoho=source,
            webhooks=replace(self.webhooks, secrets=secrets),
            sandbox=replace(self.sandbox, deliver_to=deliver_to),
        )


class Parts:
    """What many actors share."""

    def __init__(self, config: Config) -> None:
        embedded = config.database.dsn == "embedded"
        said = config.entities.create_tables
        seal = Seal(config.zoho.client_id, config.zoho.client_secret, config.zoho.refresh_token)
        self.entities = mappings.load(config.entities.directory)
        self.names = naming.Names(naming.kinds(self.entities))
        self.metrics = Metrics()
        self.server = Server(config.database.data_directory) if embedded else None
        self.database = database.Database(config.database)
        self.node = nodes.Node(self.database, lease=config.queue.lease)
        self.queue = queue.Queue(self.database, boot_id=self.node.boot_id, options=config.queue)
        self.upstreams = Shared(self.database)
        self.client = zoho.Client(config.zoho, ledger=self.upstreams, store=Fleet(self.upstreams, seal))
        self._makes_tables = embedded if said is None else said

    def statements(self) -> tuple[str, ...]:
        """What makes the target tables that are absent, where they are to be made."""
        return absent.statements(self.entities.tables) if self._makes_tables else ()


def tree(config: Config, host: cli.Host) -> Supervisor:
    """Make every actor with what it needs; nothing runs yet."""
    config = config.resolved(host.address)
    parts = Parts(config)
    store, tasks = parts.database, parts.queue

    def due(work: Iterable[tuple[str, str]]) -> None:
        """Wake whoever has work; a full mailbox knows already."""
        for entity, operation in work:
            if operation == "run":
                pulling.ref.offer(RunWake())
            elif operation == "fetch":
                fetching.ref.offer(Wake(entity))
            else:
                by_entity.get(entity, unmapped.ref).offer(Wake(entity))

    syncs = [
        entity_sync(entity=entity, database=store, queue=tasks, holds_lease=parts.node.holds_lease)
        .named(entity.name)
        .options(budget=ALONE)
        for entity in parts.entities
    ]
    by_entity = {sync.name: sync.ref for sync in syncs}
    unmapped = strays(queue=tasks).options(budget=ALONE)
    writing = intake.writer(database=store, on_stored=lambda stored: due((entity, "upsert") for entity in stored))
    fetching, pulling = of_source(config, parts, due)
    healing, comparing = of_upkeep(config, parts)
    pull_now = partial(due, [("all", "run")])
    actions = schedules.actions(
        wake_pull=pull_now,
        heal=lambda: healing.ref.offer(Heal()),
        compare=lambda: comparing.ref.offer(Compare()),
    )
    schedules.check(config.schedule, actions)
    work: list[Child] = [
        writing,
        nodes.node(database=store, node=parts.node, queue=tasks, on_due=due),
        *([sandbox_process(options=config.sandbox).options(budget=ALONE)] if config.sandbox.enabled else []),
        source(client=parts.client, shared=parts.upstreams).options(budget=ALONE),
        *syncs,
        unmapped,
        fetching,
        pulling,
        ticker(database=store, schedules=config.schedule, actions=actions).options(budget=ALONE),
        healing,
        comparing,
        metrics_reporter.metrics_reporter(
            database=store, metrics=parts.metrics, runtime=host.get, options=config.metrics, node=parts.node.name
        ).options(budget=ALONE),
        listener(config, parts, host, services(config, parts, host, writing.ref, healing.ref, pull_now)),
    ]
    root = storage(database=store, server=parts.server, statements=parts.statements)
    return Supervisor("tds", strategy="rest_for_one", children=[root, Supervisor("work", children=work)])


def of_source(config: Config, parts: Parts, due: Due) -> tuple[Spec[Wake], Spec[RunWake]]:
    """The two that ask the source: fetcher and pull."""
    pictures = Pictures(config.images.directory) if config.images.directory else None
    fetching = fetcher.fetcher(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.fetcher,
        due=due,
        pictures=pictures,
    )
    pulling = pull.pull(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.pull,
        due=due,
        images=pictures is not None,
    )
    return fetching.options(budget=ALONE), pulling.options(budget=ALONE)


def of_upkeep(config: Config, parts: Parts) -> tuple[Spec[Heal], Spec[Compare]]:
    """The two that look after what is stored: healer and reconciler."""
    healing = healer.healer(
        database=parts.database,
        queue=parts.queue,
        metrics=parts.metrics,
        options=config.healer,
        retention=config.retention,
        node=parts.node.name,
    )
    comparing = reconciler.reconciler(
        database=parts.database, client=parts.client, entities=parts.entities, options=config.reconciler
    )
    return healing.options(budget=ALONE), comparing.options(budget=ALONE)


def listener(config: Config, parts: Parts, host: cli.Host, services: Services) -> Spec[Never]:
    """The web application on the socket that the process has bound."""
    routes = webhooks.routes(services.writer, parts.names, config.webhooks, parts.metrics)
    listening = http.listener(
        app=application(services, routes),
        sock=host.listening,
        options=config.http,
        observe=parts.metrics.observe_request,
    )
    return listening.options(stop=config.http.grace + 2)


def services(  # noqa: PLR0917 - positions in the order of the parts
    config: Config,
    parts: Parts,
    host: cli.Host,
    writer: Ref[intake.Store],
    healer: Ref[Heal],
    wake_pull: Callable[[], object],
) -> Services:
    """What the HTTP API works with."""
    return Services(
        database=parts.database,
        queue=parts.queue,
        metrics=parts.metrics,
        entities=parts.entities,
        schedules=config.schedule,
        runtime=host.get,
        wake_pull=wake_pull,
        healer=healer,
        writer=writer,
        options=config.api,
        thresholds=config.healer.thresholds,
    )
