"""What the daemon counts and measures: one registry, passed to whoever has something to say.

Every instrument is declared here, so that the catalogue (name, unit, labels) is this page.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import Scope

MOST_ENTITIES = 100
"""Kinds of record that have series of their own, beside those that are known beforehand."""
LONGEST_NAME = 64
OTHERS = "(others)"
UNITS = frozenset({"seconds", "bytes", "ratio"})
CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Description(Struct, frozen=True, kw_only=True):
    """One line of the catalogue; the unit is the last word of the name, as Prometheus has it, "" for a number."""

    name: str
    kind: str
    unit: str
    help: str
    labels: tuple[str, ...]


class Sample(Struct, frozen=True, kw_only=True):
    """One value at one moment."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics:
    """The daemon's instruments in a registry of their own; several may live in one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._catalogue: list[Description] = []
        self._known: set[str] = set()
        self._strangers: set[str] = set()
        self.requests = self._histogram("tds_http_request_seconds", "Requests, to their last byte", "route", "status")
        self.webhooks = self._counter("tds_webhooks_total", "Webhooks by what became of them", "entity", "outcome")
        self.queue_tasks = self._gauge("tds_queue_tasks", "Tasks in the live queue", "entity", "status")
        self.queue_age = self._gauge("tds_queue_oldest_seconds", "Age of the oldest waiting task", "entity")
        self.success_ratio = self._gauge("tds_sync_success_ratio", "Completed of all that ended, last 24 hours")
        self.attempts = self._counter("tds_task_attempts_total", "Tasks tried, by how that ended", "entity", "outcome")
        self.restarts = self._gauge("tds_actor_restarts", "Restarts in the supervision tree since the start")
        self.actors = self._gauge("tds_actors", "Children in the supervision tree by state", "state")
        self.mail = self._gauge("tds_mailbox_messages", "Messages waiting in all mailboxes")
        self.database_up = self._gauge("tds_database_up", "Whether the database answers")
        self.configured_at = self._gauge("tds_config_applied_timestamp_seconds", "When the present configuration came")
        self.configuration_refused = self._gauge("tds_config_refused", "Whether a newer configuration was refused")
        self.resident = self._gauge("tds_process_resident_bytes", "Resident memory of this process")
        self.descriptors = self._gauge("tds_process_descriptors", "Open file descriptors of this process")
        self.processor = self._gauge("tds_process_cpu_seconds", "Processor time of this process since its start")
        self.busy = self._gauge("tds_process_cpu_ratio", "Processors that this process kept busy since the last look")
        self.loop_lag = self._gauge("tds_event_loop_lag_seconds", "How late the event loop woke the last look")
        self.connections = self._gauge("tds_database_connections", "Connections to the database", "pool", "state")
        self.disk_free = self._gauge("tds_disk_free_bytes", "Bytes free where the data of this node lies")
        self.disk_size = self._gauge("tds_disk_size_bytes", "Size of the file system where the data of this node lies")
        self.healed = self._counter("tds_healer_repairs_total", "What the healer put right", "kind")
        self.alerts = self._gauge("tds_alerts_open", "Alerts that are not resolved", "severity")
        self.level = self._gauge("tds_service_level", "Service levels, in percent, seconds or numbers", "level")
        self.level_met = self._gauge("tds_service_level_met", "Whether a service level is met", "level")

    def know(self, entities: Iterable[str]) -> None:
        """These kinds of record have series of their own, however many others come."""
        self._known.update(entities)

    def entity(self, name: str) -> str:
        """A kind of record as a label: whoever makes names up makes no more series than there is room for."""
        if name in self._known or name in self._strangers:
            return name
        if len(self._strangers) >= MOST_ENTITIES or not name.isprintable() or len(name) > LONGEST_NAME:
            return OTHERS
        self._strangers.add(name)
        return name

    def observe_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answer under its route's template, never under the path that a stranger chose."""
        route = getattr(scope.get("route"), "path", "")
        self.requests.labels(route, str(status)).observe(seconds)

    def exposition(self) -> bytes:
        """The registry in Prometheus' text format; `CONTENT_TYPE` says which."""
        return generate_latest(self.registry)

    def samples(self) -> list[Sample]:
        """Every gauge and counter as it stands; histograms as their count and sum."""
        return [
            Sample(name=sample.name, labels=dict(sample.labels), value=sample.value)
            for family in self.registry.collect()
            for sample in family.samples
            if not sample.name.endswith(("_bucket", "_created"))
        ]

    def catalogue(self) -> tuple[Description, ...]:
        """What there is to be asked for, by name."""
        return tuple(sorted(self._catalogue, key=lambda description: description.name))

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        self._describe(name, "counter", help_text, labels)
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        self._describe(name, "gauge", help_text, labels)
        return Gauge(name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        self._describe(name, "histogram", help_text, labels)
        return Histogram(name, help_text, labels, registry=self.registry, buckets=_SECONDS)

    def _describe(self, name: str, kind: str, help_text: str, labels: tuple[str, ...]) -> None:
        last = name.removesuffix("_total").rpartition("_")[2]
        unit = last if last in UNITS else ""
        self._catalogue.append(Description(name=name, kind=kind, unit=unit, help=help_text, labels=labels))
