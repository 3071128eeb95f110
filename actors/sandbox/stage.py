"""All parts of one sandbox, put together; a reset builds them anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from actors.sandbox.clock import Clock
from actors.sandbox.desk import Desk
from actors.sandbox.documents import Documents
from actors.sandbox.drawers import Drawers
from actors.sandbox.faults import Faults
from actors.sandbox.limits import Limits, Rules
from actors.sandbox.listing import Listing
from actors.sandbox.oauth import Accounts
from actors.sandbox.options import Options, Switches
from actors.sandbox.parts import Parts
from actors.sandbox.reads import Reads
from actors.sandbox.webhooks import Post
from actors.sandbox.workflows import Workflows
from actors.sandbox.world import World
from actors.sandbox.writes import Writes


class Stage:
    """The data set, the accounts, the limits, the faults and the post office of one organisation."""

    def __init__(self, options: Options, *, api_url: Callable[[], str], clock: Clock | None = None) -> None:
        self.options = options
        self._api_url = api_url
        self.clock = clock or Clock(options.time_zone)
        self.switches = options.switches
        self.post = Post(self.clock, lambda: self.switches, capped=lambda: self.limits.rules.enabled)
        self._build()

    def _build(self) -> None:
        options = self.options
        self.latency = options.latency_ms / 1000
        self.random = Random(options.seed)  # noqa: S311 - repeatable choices of the control API
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.faults = Faults()
        self.limits = Limits(self.clock, Rules(enabled=options.limits))
        self.accounts = Accounts(
            self.clock, seed=options.seed, api_domain=self._api_url, throttled=lambda: self.limits.rules.enabled
        )
        self.world = World(options, self.clock, lambda: self.switches)
        self.documents = Documents(self.world, edition=options.edition, cache_bytes=options.cache_mb << 20)
        self.parts = Parts(self.clock)
        self.drawers = Drawers(self.clock, self.parts, edition=options.edition)
        self.workflows = Workflows(self.world, self.documents, self.post, self.drawers, lambda: self.switches)
        self.desk = Desk(self.world, self._hear)
        self.listing = Listing(self.world, self.documents, lambda: self.switches)
        self.reads = Reads(
            self.world,
            self.documents,
            self.listing,
            self.drawers,
            self.parts,
            edition=options.edition,
            switches=lambda: self.switches,
        )
        self.writes = Writes(
            self.world,
            self.desk,
            self.documents,
            reads=self.reads,
            drawers=self.drawers,
            parts=self.parts,
            switches=lambda: self.switches,
        )

    def _hear(self, module: str, index: int, event: str) -> None:
        self.workflows.heard(module, index, event)

    def turn(self, switches: Switches) -> None:
        """Set the open points; nothing written or chosen before is kept."""
        self.switches = switches
        self.documents.forget_all()
        self.listing.forget_all()

    def reset(self) -> None:
        """Everything as at the start; letters that wait are still sent."""
        self.faults.remove()
        self.switches = self.options.switches
        self.clock.reset()
        self.post.reset()
        self._build()
