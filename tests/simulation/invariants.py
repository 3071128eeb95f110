"""What must hold of every simulated history: at each step, and in what it told of itself."""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

import anyio

from tds_runtime import Child, Snapshot, Spec, Supervisor
from tds_runtime.budget import Budget
from tds_runtime.events import (
    ChildEnded,
    ChildFinished,
    ChildQuarantined,
    ChildReady,
    ChildReleased,
    ChildStarting,
    ChildUnstopped,
    DeadLettered,
    Lagged,
    RestartScheduled,
    StopRequested,
    SupervisorExhausted,
    TreeStopped,
)

LIVING = {"starting", "ready", "stopping", "cancelled", "unstopped"}


def check_now(world, runtime) -> None:
    """At a moment at which nothing can run: one task a living child and no other, and all books balance."""
    snapshots = {below.path: below for below in _below(runtime.snapshot())}
    tasks = Counter(task.name for task in anyio.get_running_tasks() if str(task.name).startswith("tree/"))
    assert tasks == Counter(path for path, below in snapshots.items() if below.state in LIVING)
    for spec in world.specs:
        below = snapshots[spec.ref.path]
        assert world.alive[spec.ref.path] == (below.state in LIVING)
        books = below.mailbox
        assert books.accepted == books.handled + books.dropped + books.dead + books.leased + books.queued
        assert not books.leased or below.state in LIVING
        assert books.queued <= books.capacity + 1  # a message that was given back is one more


def check_history(world, events) -> None:
    """What the events tell."""
    assert isinstance(events[-1], TreeStopped)
    assert not any(isinstance(event, Lagged) for event in events)
    assert not any(world.alive.values())
    places = Places(world.tree)
    check_lives(events)
    check_starts(places, events, world.pardons)
    check_stops(places, events)
    check_budgets(places, events, world.pardons)
    check_books(world, events)


class Places:
    """Where each child stands: its supervisor, and its siblings in order."""

    def __init__(self, tree: Supervisor) -> None:
        self.specs: dict[str, Child] = {}
        self.supervisor: dict[str, str] = {}
        self.siblings: dict[str, list[str]] = {}
        self._add(tree, tree.name)

    def _add(self, spec: Child, path: str) -> None:
        self.specs[path] = spec
        if isinstance(spec, Supervisor):
            names = [f"{path}/{child.name}" for child in spec.children]
            for name, child in zip(names, spec.children, strict=True):
                self.supervisor[name] = path
                self.siblings[name] = names
                self._add(child, name)

    def linked(self, path: str) -> bool:
        return self.specs[self.supervisor[path]].strategy != "one_for_one"

    def before(self, path: str) -> list[str]:
        return self.siblings[path][: self.siblings[path].index(path)]

    def after(self, path: str) -> list[str]:
        return self.siblings[path][self.siblings[path].index(path) + 1 :]

    def above(self, path: str) -> list[str]:
        """This place and all that it is below."""
        parts = path.split("/")
        return ["/".join(parts[: n + 1]) for n in range(len(parts))]

    def below(self, path: str) -> list[str]:
        return [place for place in self.specs if place.startswith(f"{path}/")]


def check_lives(events) -> None:
    """Every incarnation starts once and ends once, in turn: none starts while the last one lives."""
    last: dict[str, int] = defaultdict(int)
    running: set[str] = set()
    for event in events:
        if isinstance(event, ChildStarting):
            assert event.path not in running
            assert event.incarnation == last[event.path] + 1
            last[event.path] = event.incarnation
            running.add(event.path)
        elif isinstance(event, ChildEnded) and event.path != "tree":
            running.remove(event.path)
    assert not running


def check_starts(places: Places, events, pardons) -> None:
    """A supervisor's children come up one after the other; under a linked strategy, never before a living one.

    The exception is a child that was down for good and is started by hand.
    """
    by_hand = _indexes(pardons)
    down_at: dict[str, int] = defaultdict(int)
    running: set[str] = set()
    up: set[str] = set()
    begun: set[str] = set()
    for index, event in enumerate(events):
        match event:
            case ChildStarting(path=path):
                asked = by_hand[path]
                if places.linked(path) and bisect(asked, index) == bisect_left(asked, down_at[path]):
                    assert not running.intersection([path, *places.after(path)])
                if path not in begun:
                    assert up.issuperset(places.before(path))
                begun.add(path)
                begun.difference_update(places.below(path))
                up.difference_update(places.below(path))
                running.add(path)
            case ChildReady(path=path) | ChildFinished(path=path) | ChildQuarantined(path=path):
                up.add(path)
            case ChildEnded(path=path):
                down_at[path] = index
                running.discard(path)
                if path in places.supervisor and path not in up and event.ending in ("shutdown", "killed"):
                    up.add(path)  # asked to stop on its way up, so those after it go on
            case ChildUnstopped(path=path):  # nobody waits for what cannot be stopped, nor for who waits for it
                running.difference_update(places.above(path))


def check_stops(places: Places, events) -> None:
    """They are asked to stop last first, each when those after it are down, or cannot be stopped."""
    running: set[str] = set()
    for event in events:
        match event:
            case ChildStarting(path=path):
                running.add(path)
            case ChildEnded(path=path):
                running.discard(path)
            case ChildUnstopped(path=path):
                running.difference_update(places.above(path))
            case StopRequested(path=path, reason=reason):
                if reason == "shutdown":
                    assert not running.intersection(places.after(path))


class Account:
    """A budget, and what an observer would have charged to it."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.charges: list[tuple[str, float]] = []

    def charge(self, child: str, ran: Ran) -> bool:
        self.charges.append((child, ran.seconds(child)))
        self.charges = [(name, at) for name, at in self.charges if ran.seconds(name) - at <= self.budget.per]
        return len(self.charges) <= self.budget.restarts


class Ran:
    """How many seconds each child had run in all its lives, as far as events have been told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.total: dict[str, float] = defaultdict(float)
        self.since: dict[str, float] = {}

    def seconds(self, path: str) -> float:
        return self.total[path] + (self.now - self.since[path] if path in self.since else 0.0)

    def hear(self, event) -> None:
        self.now = event.at
        if isinstance(event, ChildStarting):
            self.since[event.path] = event.at
        elif isinstance(event, ChildEnded) and event.path in self.since:
            self.total[event.path] += event.at - self.since.pop(event.path)


def check_budgets(places: Places, events, pardons) -> None:
    """Every restart was affordable, and every exhaustion and quarantine was not, at its instant.

    An independent book: seconds of running are counted from the events, and nothing of the engine's own is asked. What
    was ever restarted by hand may or may not have a clean record, by whether its supervisor was there to hear it.
    """
    accounts: dict[str, Account] = {}
    quarantined: set[str] = set()
    pardoned = _indexes(pardons)
    seen: dict[str, int] = defaultdict(int)
    ran = Ran()
    for index, event in enumerate(events):
        ran.hear(event)
        path = event.path
        spec = places.specs[path]
        own = isinstance(spec, Spec) and spec.budget is not None
        doubtful = seen[path] < bisect(pardoned[path], index)  # a restart by hand is on its way, or was
        match event:
            case ChildStarting():
                accounts.pop(path, None) if isinstance(spec, Supervisor) else None
            case ChildReleased():
                accounts.pop(path, None)
                quarantined.discard(path)
            case RestartScheduled():
                quarantined.discard(path)
                assert _account(accounts, places, path, own=own).charge(path, ran) or (own and doubtful)
            case ChildQuarantined() if path not in quarantined:
                assert not _account(accounts, places, path, own=own).charge(path, ran) or pardoned[path]
                quarantined.add(path)
            case SupervisorExhausted():
                child = event.child
                alone = isinstance(places.specs[child], Spec) and places.specs[child].budget is not None
                assert not _account(accounts, places, child, own=alone).charge(child, ran) or (
                    alone and pardoned[child]
                )
        if doubtful and isinstance(event, (RestartScheduled, ChildStarting)):
            seen[path] = bisect(pardoned[path], index)
            if own:
                accounts.pop(path, None)


def _indexes(pardons) -> dict[str, list[int]]:
    """How many events had been told when each child was started or stopped by hand."""
    indexes: dict[str, list[int]] = defaultdict(list)
    for index, path in pardons:
        indexes[path].append(index)
    return indexes


def _account(accounts: dict[str, Account], places: Places, path: str, *, own: bool) -> Account:
    owner = path if own else places.supervisor[path]
    return accounts.setdefault(owner, Account(places.specs[owner].budget))


def check_books(world, events) -> None:
    """No message is lost or tried too often, and each dead letter was told."""
    letters = Counter(event.path for event in events if isinstance(event, DeadLettered))
    allowed = {spec.ref.path: 1 + spec.redeliver for spec in world.specs}
    for spec in world.specs:
        if spec.ref.address.box is None:
            continue
        books = spec.ref.statistics()
        assert books.leased == 0
        assert books.accepted == books.handled + books.dropped + books.dead + books.queued
        assert books.dead == letters[spec.ref.path]
    assert all(times <= allowed[path] for (path, _), times in world.handled.items())


def _below(snapshot: Snapshot) -> Iterator[Snapshot]:
    for below in snapshot.children:
        yield below
        yield from _below(below)
