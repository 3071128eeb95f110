"""The whole daemon on one page: what is configured, and who runs under whom."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, Never

from msgspec import Struct
from msgspec.structs import replace
from starlette.applications import Starlette

from actors import fetcher, healer, metrics_reporter, pull, reconciler, schedules, webhooks
from actors.alerter import alerter
from actors.alerting import routing, ways
from actors.alerting.channels import Channel
from actors.alerting.conditions import Conditions
from actors.alerting.planning import Settings
from actors.alerting.rules import Rule
from actors.api import authentication, openapi
from actors.api.application import application, table
from actors.api.services import Services
from actors.bell import Bell, Listeners
from actors.clerk import clerk
from actors.entity_sync import Synced, entity_sync
from actors.healer import Retention
from actors.healing import letters
from actors.memory import Memory, Recall
from actors.messages import Compare, Heal, HealWake, RunWake, Wake
from actors.sandbox import options as sandbox
from actors.sandbox_process import Options as SandboxOptions
from actors.sandbox_process import sandbox_process
from actors.service_levels import levels
from actors.source import source
from actors.storage import storage
from actors.strays import strays
from actors.ticker import ticker
from actors.zoho import absent, naming
from actors.zoho import client as zoho
from actors.zoho import entities as mappings
from actors.zoho.entities import Entities, Entity
from actors.zoho.images import Options as ImageOptions
from actors.zoho.images import Pictures
from actors.zoho.seal import Seal
from actors.zoho.tokens import Fleet
from tds_runtime import Budget, Child, Spec, Supervisor, cli, database, http, intake, logs, nodes, queue, sql
from tds_runtime.clients import Clients, networks
from tds_runtime.config import plain, secrets
from tds_runtime.embedded import Server
from tds_runtime.metrics import Metrics
from tds_runtime.redaction import Redactor
from tds_runtime.schedule import Schedule
from tds_runtime.upstreams import Shared
from tds_runtime.values import Duration, Secret

ALONE = Budget(5, per=60)
"""An actor that crashes more often is put aside and tried again by itself; its neighbours never notice."""


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
    images: ImageOptions = ImageOptions()
    queue: queue.Options = queue.Options()
    pull: pull.Options = pull.Options()
    fetcher: fetcher.Options = fetcher.Options()
    healer: healer.Options = healer.Options()
    retention: Retention = Retention()
    reconciler: reconciler.Options = reconciler.Options()
    metrics: metrics_reporter.Options = metrics_reporter.Options()
    service_levels: levels.Options = levels.Options()
    sandbox: SandboxOptions = SandboxOptions()
    log: logs.Options = logs.Options()
    schedule: dict[str, Schedule] = {}
    alerter: routing.Options = routing.Options()
    alert: dict[str, Rule] = {}
    route: dict[str, routing.Route] = {}
    channel: dict[str, Channel] = {}
    inhibit: tuple[routing.Inhibit, ...] = ()

    @property
    def alerting(self) -> Settings:
        """What is said of alerts and of who is told."""
        return Settings(rules=self.alert, routes=self.route, inhibits=self.inhibit, options=self.alerter)

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
    """What many actors share; with a `memory`, what is configured as before is the very same part as before.

    Server, database, node and upstreams last as long as the process, whatever is configured later.
    """

    def __init__(self, config: Config, memory: Memory | None = None) -> None:
        recall = (memory or Memory()).recall
        embedded = config.database.dsn == "embedded"
        said = config.entities.create_tables
        seal = Seal(config.zoho.client_id, config.zoho.client_secret, config.zoho.refresh_token)
        directory = config.images.directory
        self.entities = _entities(config.entities.directory, recall)
        self.names = recall("names", self.entities, lambda: naming.Names(naming.kinds(self.entities)))
        self.metrics = recall("metrics", None, Metrics)
        self.metrics.know(self.entities.names)
        self.server = recall("server", None, lambda: Server(config.database.data_directory) if embedded else None)
        self.database = recall("database", None, lambda: database.Database(config.database))
        self.node = recall("node", None, lambda: nodes.Node(self.database, lease=config.queue.lease))
        self.redactor = recall("redactor", None, Redactor)
        self.redactor.learn(secrets(config))  # what was a secret once stays one
        self.attempted = recall("attempted", None, lambda: partial(attempted, self.metrics))
        self.queue = recall(
            "queue", config.queue, lambda: queue.Queue(self.database, boot_id=self.node.boot_id, options=config.queue)
        )
        self.upstreams = recall("upstreams", None, lambda: Shared(self.database))
        self.client = recall(
            "client",
            config.zoho,
            lambda: zoho.Client(config.zoho, ledger=self.upstreams, store=Fleet(self.upstreams, seal)),
        )
        limits = (config.http.trusted_proxies, config.http.public_rate)
        self.clients = recall("clients", limits, lambda: Clients(networks(limits[0]), limits[1]))
        self.pictures = recall("pictures", directory, lambda: Pictures(directory) if directory else None)
        self.bell = recall("bell", self.entities.names, lambda: Bell(self.entities.names))
        self.actions = recall("actions", self.bell, lambda: schedules.actions(self.bell))
        self._makes_tables = embedded if said is None else said
        self._recall = recall

    def statements(self) -> tuple[str, ...]:
        """What makes the target tables that are absent, where they are to be made."""
        return absent.statements(self.entities.tables) if self._makes_tables else ()

    def premises(self, config: Config) -> healer.Premises:
        """What the healer looks after; what decides how a task ends is said by these sections, beside the mappings."""
        decisive = plain([config.zoho, config.entities, config.fetcher, config.queue, config.images])
        settings = (self.entities, self.client, decisive, graces(config.schedule))
        return self._recall(
            "premises",
            settings,
            lambda: healer.Premises(
                entities=self.entities,
                fingerprints=letters.fingerprints(self.entities, decisive),
                graces=graces(config.schedule),
                mend=self.client.mend,
            ),
        )

    def application(self, services: Services, options: webhooks.Options) -> Starlette:
        """The web application; one that would be the same is the one that is being served."""
        return self._recall(
            "application",
            (services, options, self.names),
            lambda: application(
                services, webhooks.routes(services.writer, self.names, options, self.metrics, clients=services.clients)
            ),
        )


def graces(schedules: Mapping[str, Schedule]) -> dict[str, Duration]:
    """How late the success of each schedule may be; what is switched off is never late."""
    return {name: plan.grace for name, plan in schedules.items() if plan.enabled}


def _entities(directory: Path, recall: Recall) -> Entities:
    """The mappings; an entity whose file says what it said before is the one that is at work."""
    loaded = mappings.load(directory)
    known = [recall(f"entity {entity.name}", entity.fingerprint, partial(_itself, entity)) for entity in loaded]
    return recall("entities", loaded.fingerprint, lambda: Entities(known))


def _itself(entity: Entity) -> Entity:
    return entity


def attempted(metrics: Metrics, synced: Synced) -> None:
    """Count a batch by how its tasks ended: the failure rate is told from this."""
    for outcome, count in synced.outcomes.items():
        metrics.attempts.labels(metrics.entity(synced.entity), outcome).inc(count)


class Trees:
    """Makes the tree of one process, again whenever its configuration has changed."""

    def __init__(self) -> None:
        self._memory = Memory()

    def __call__(self, config: Config, host: cli.Host) -> Supervisor:
        """The tree of this configuration, made of the parts of the one before it where they are configured alike."""
        return tree(config, host, self._memory)


def tree(config: Config, host: cli.Host, memory: Memory | None = None) -> Supervisor:
    """Make every actor with what it needs; nothing runs yet."""
    sql.read_all("tds_runtime", "actors")
    config = config.resolved(host.address)
    parts = Parts(config, memory)
    store, tasks, bell = parts.database, parts.queue, parts.bell
    syncs = of_entities(parts)
    unmapped = strays(queue=tasks).options(budget=ALONE)
    writing = intake.writer(database=store, on_stored=bell.stored)
    fetching, pulling = of_source(config, parts)
    healing, comparing = of_upkeep(config, parts)
    working = clerk(database=store, queue=tasks, due=bell.work).options(budget=ALONE)
    bell.hang(
        Listeners(
            syncs={sync.name: sync.ref for sync in syncs},
            strays=unmapped.ref,
            fetcher=fetching.ref,
            pull=pulling.ref,
            healer=healing.ref,
            reconciler=comparing.ref,
            clerk=working.ref,
            writer=writing.ref,
        )
    )
    schedules.check(config.schedule, parts.actions)
    ways.check(config.alerting, config.channel)
    work: list[Child] = [
        writing,
        nodes.node(database=store, node=parts.node, queue=tasks, on_due=bell.work),
        *([sandbox_process(options=config.sandbox).options(budget=ALONE)] if config.sandbox.enabled else []),
        source(client=parts.client, shared=parts.upstreams).options(budget=ALONE),
        *syncs,
        unmapped,
        fetching,
        pulling,
        ticking(config, parts),
        healing,
        comparing,
        working,
        alerting(config, parts, host),
        reporting(config, parts, host),
        listener(config, parts, host),
    ]
    root = storage(database=store, server=parts.server, statements=absent.Prepared(parts.statements()))
    return Supervisor("tds", strategy="rest_for_one", children=[root, Supervisor("work", children=work)])


def described(config: Config) -> dict[str, Any]:
    """The OpenAPI document of what this configuration would serve; nothing runs for it."""
    memory = Memory()
    with socket() as unbound:
        host = cli.Host(unbound)
        tree(config, host, memory)
        config = config.resolved(host.address)
        return openapi.document(table(services(config, Parts(config, memory), host)))


def of_entities(parts: Parts) -> list[Spec[Wake]]:
    """One sync actor for each kind of record."""
    return [
        entity_sync(
            entity=entity,
            database=parts.database,
            queue=parts.queue,
            holds_lease=parts.node.holds_lease,
            observe=parts.attempted,
        )
        .named(entity.name)
        .options(budget=ALONE)
        for entity in parts.entities
    ]


def of_source(config: Config, parts: Parts) -> tuple[Spec[Wake], Spec[RunWake]]:
    """The two that ask the source: fetcher and pull."""
    fetching = fetcher.fetcher(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.fetcher,
        due=parts.bell.work,
        pictures=parts.pictures,
    )
    pulling = pull.pull(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.pull,
        due=parts.bell.work,
        images=parts.pictures is not None,
    )
    return fetching.options(budget=ALONE), pulling.options(budget=ALONE)


def ticking(config: Config, parts: Parts) -> Spec[Never]:
    """Who decides slots."""
    deciding = ticker(
        database=parts.database,
        schedules=config.schedule,
        actions=parts.actions,
        boot_id=parts.node.boot_id,
        lease=config.queue.lease / 2,  # the next node ticks before the tasks of the one before are given to it
    )
    return deciding.options(budget=ALONE)


def of_upkeep(config: Config, parts: Parts) -> tuple[Spec[Heal | HealWake], Spec[Compare]]:
    """The two that look after what is stored: healer and reconciler."""
    healing = healer.healer(
        database=parts.database,
        queue=parts.queue,
        metrics=parts.metrics,
        options=config.healer,
        retention=config.retention,
        levels=config.service_levels,
        node=parts.node.name,
        premises=parts.premises(config),
    )
    comparing = reconciler.reconciler(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.reconciler,
        due=parts.bell.work,
    )
    return healing.options(budget=ALONE), comparing.options(budget=ALONE)


def alerting(config: Config, parts: Parts, host: cli.Host) -> Spec[Never]:
    """Who tells people."""
    limits = Conditions(
        thresholds=config.healer.thresholds,
        silence=config.healer.silence,
        heartbeat=config.healer.heartbeat,
        graces=graces(config.schedule),
    )
    telling = alerter(
        database=parts.database,
        tap=host.tap,
        metrics=parts.metrics,
        settings=config.alerting,
        channels=config.channel,
        limits=limits,
        boot_id=parts.node.boot_id,
        node=parts.node.name,
        redact=parts.redactor.text,
    )
    return telling.options(budget=ALONE)


def reporting(config: Config, parts: Parts, host: cli.Host) -> Spec[Never]:
    """Who says what was seen."""
    seeing = metrics_reporter.metrics_reporter(
        database=parts.database,
        metrics=parts.metrics,
        runtime=host.get,
        configuration=host.configuration,
        options=config.metrics,
        levels=config.service_levels,
        writer=parts.bell.listeners.writer,
        node=parts.node.name,
        directory=config.database.data_directory if parts.server else Path(),
    )
    return seeing.options(budget=ALONE)


def services(config: Config, parts: Parts, host: cli.Host) -> Services:
    """What the endpoints of the web application work with."""
    return Services(
        database=parts.database,
        queue=parts.queue,
        metrics=parts.metrics,
        entities=parts.entities,
        schedules=config.schedule,
        runtime=host.get,
        wake_pull=parts.bell.run,
        wake_reconciler=parts.bell.compare,
        wake_clerk=parts.bell.job,
        healer=parts.bell.listeners.healer,
        writer=parts.bell.listeners.writer,
        options=config.api,
        thresholds=config.healer.thresholds,
        healing=config.healer,
        acknowledged_for=config.alerter.acknowledged_for,
        levels=config.service_levels,
        clients=parts.clients,
        redact=parts.redactor.known,
    )


def listener(config: Config, parts: Parts, host: cli.Host) -> Spec[Never]:
    """The web application on the socket that the process has bound."""
    listening = http.listener(
        app=parts.application(services(config, parts, host), config.webhooks),
        sock=host.listening,
        options=config.http,
        observe=parts.metrics.observe_request,
    )
    return listening.options(stop=config.http.grace + 2)
