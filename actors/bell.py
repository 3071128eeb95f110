"""Who is told when there is work: rings at the mailboxes of a tree, which is made after the bell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from actors.messages import Compare, Heal, HealWake, JobWake, RunWake, Wake
from tds_runtime import Ref
from tds_runtime.intake import Store


class Listeners(Struct, frozen=True, kw_only=True):
    """The mailboxes of those who are told something; `strays` takes what is of no mapped entity."""

    syncs: Mapping[str, Ref[Wake]]
    strays: Ref[Wake]
    fetcher: Ref[Wake]
    pull: Ref[RunWake]
    healer: Ref[Heal | HealWake]
    reconciler: Ref[Compare]
    clerk: Ref[JobWake]
    writer: Ref[Store]


class Bell:
    """Offers wake-ups and waits for nothing: a full mailbox knows already.

    `names` are the entities that have an actor of their own. A reload that does not change them keeps the bell, and
    with it everybody who rings it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._listeners: Listeners | None = None

    @property
    def listeners(self) -> Listeners:
        """Who hears it; there is nobody before `hang`."""
        assert self._listeners is not None, "a bell is hung before it is rung"
        return self._listeners

    def hang(self, listeners: Listeners) -> None:
        """Say who hears it; a bell that hangs already stays where it is, as references outlive a reload."""
        self._listeners = self._listeners or listeners

    def work(self, found: Iterable[tuple[str, str]]) -> None:
        """Wake whoever has work, as (entity, operation) pairs."""
        for entity, operation in found:
            if operation == "run":
                self.run()
            elif operation == "report":
                self.compare()
            elif operation == "heal":
                self.heal()
            elif operation == "fetch":
                self.listeners.fetcher.offer(Wake(entity))
            else:
                self.listeners.syncs.get(entity, self.listeners.strays).offer(Wake(entity))

    def stored(self, entities: Iterable[str]) -> None:
        """Webhooks of these entities were stored."""
        self.work((entity, "upsert") for entity in entities)

    def run(self) -> None:
        """A run was asked for."""
        self.listeners.pull.offer(RunWake())

    def heal(self) -> None:
        """A round of the healer was asked for."""
        self.listeners.healer.offer(HealWake())

    def job(self) -> None:
        """A job was asked for."""
        self.listeners.clerk.offer(JobWake())

    def compare(self) -> None:
        """A report was asked for."""
        self.listeners.reconciler.offer(Compare())
