"""What the endpoints work with; made once, in the tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from actors.api.authentication import Options
from actors.condition import Thresholds
from actors.healer import Options as HealerOptions
from actors.messages import Heal, HealWake
from actors.service_levels import levels
from actors.zoho.entities import Entities
from tds_runtime import Snapshot
from tds_runtime.clients import Clients
from tds_runtime.database import Database
from tds_runtime.intake import Store
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Queue
from tds_runtime.ref import Ref
from tds_runtime.schedule import Schedule
from tds_runtime.values import Duration


class Tree(Protocol):
    """What is asked of the running tree."""

    def snapshot(self) -> Snapshot: ...
    async def kill(self, path: str, reason: str = "") -> None: ...


def _as_it_is(text: str) -> str:
    return text


class Services(Struct, frozen=True, kw_only=True):
    """What the endpoints work with.

    Attributes:
        runtime: Gives the running tree once there is one; the application is made before it.
        wake_pull: Tells the puller to look for runs now.
        wake_reconciler: Tells the reconciler to look for reports now.
        wake_clerk: Tells the clerk to look for jobs now.
        redact: Masks the secrets of the configuration in whatever is answered.
    """

    database: Database
    queue: Queue
    metrics: Metrics
    entities: Entities
    schedules: Mapping[str, Schedule]
    runtime: Callable[[], Tree | None]
    wake_pull: Callable[[], object]
    wake_reconciler: Callable[[], object]
    wake_clerk: Callable[[], object]
    healer: Ref[Heal | HealWake]
    writer: Ref[Store]
    options: Options
    thresholds: Thresholds
    healing: HealerOptions = HealerOptions()
    acknowledged_for: Duration = Duration("24h")
    levels: levels.Options = levels.Options()
    clients: Clients = Clients()
    redact: Callable[[str], str] = _as_it_is
