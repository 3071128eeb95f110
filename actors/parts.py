"""What many actors share: made once for a process, and kept where its configuration stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from starlette.applications import Starlette

from actors import healer, schedules, webhooks
from actors.api.application import application
from actors.api.services import Services
from actors.bell import Bell
from actors.configuration import Config
from actors.entity_sync import Synced
from actors.healing import letters
from actors.memory import Memory, Recall
from actors.zoho import absent, naming
from actors.zoho import client as zoho
from actors.zoho import entities as mappings
from actors.zoho.entities import Entities, Entity
from actors.zoho.images import Pictures
from actors.zoho.seal import Seal
from actors.zoho.tokens import Fleet
from tds_runtime import database, nodes, queue
from tds_runtime.clients import Clients, networks
from tds_runtime.config import plain, secrets
from tds_runtime.embedded import Server
from tds_runtime.metrics import Metrics
from tds_runtime.redaction import Redactor
from tds_runtime.schedule import Schedule
from tds_runtime.upstreams import Shared
from tds_runtime.values import Duration


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
