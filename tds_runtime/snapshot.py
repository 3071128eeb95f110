"""The tree at one moment, for the log, the API, the command line and the dashboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from msgspec import Struct

from tds_runtime.budget import Spending
from tds_runtime.errors import NoSuchChild
from tds_runtime.mailbox import Statistics
from tds_runtime.slot import Slot, State
from tds_runtime.spec import Spec


class Snapshot(Struct, frozen=True, kw_only=True):
    """One child of the tree at one moment; all times are seconds.

    `kind` is "actor" or "supervisor". `restarts` counts incarnations after the first, `uptime` is that of the living
    one, `last_error` is type and message of the last failure of any, `waiting` names its waits, `leased_age` is the
    time since the last sign of progress on the messages in hand, `budget` what is spent of a child's own budget or,
    for a supervisor, of the one that its children share. What does not apply is empty, 0 or None.
    """

    path: str
    name: str
    kind: str
    state: State
    incarnation: int
    restarts: int
    uptime: float
    last_error: str
    waiting: str
    leased_age: float
    budget: Spending | None = None
    mailbox: Statistics | None
    children: tuple[Snapshot, ...]


class Count(Struct, frozen=True):
    """What a supervisor has below it at any depth: specs, living children, and how many of the specs are which."""

    specs: int
    active: int
    supervisors: int
    workers: int


class SupervisorStatistics(Struct, frozen=True, kw_only=True):
    """One supervisor in figures, over everything below it at any depth.

    `states` counts children by state, leaving out states that no child is in; `restarts` are incarnations after the
    first, `waiting` unread messages. `budget` is that of its own children, None while it does not run.
    """

    count: Count
    states: Mapping[State, int]
    restarts: int
    waiting: int
    budget: Spending | None = None


def snapshot_of(slot: Slot) -> Snapshot:
    """A slot and all below it, now."""
    now = slot.world.clock()
    box = slot.box
    return Snapshot(
        path=slot.path,
        name=slot.spec.name,
        kind="actor" if isinstance(slot.spec, Spec) else "supervisor",
        state=slot.state,
        incarnation=slot.incarnation,
        restarts=slot.restarts,
        uptime=0.0 if slot.life is None else now - slot.started_at,
        last_error="" if slot.last_failure is None else str(slot.last_failure),
        waiting=", ".join(wait.name for wait in slot.pulse.waits),
        leased_age=now - slot.pulse.since if box is not None and box.leased else 0.0,
        budget=slot.spending(),
        mailbox=None if box is None else box.statistics(),
        children=tuple(snapshot_of(below) for below in slot.children.values()),
    )


def count_below(slot: Slot) -> Count:
    """Everything below a slot."""
    specs = active = supervisors = 0
    for below in slot.children.values():
        nested = count_below(below)
        specs += 1 + nested.specs
        active += (below.life is not None) + nested.active
        supervisors += (not isinstance(below.spec, Spec)) + nested.supervisors
    return Count(specs, active, supervisors, specs - supervisors)


def statistics_of(slot: Slot) -> SupervisorStatistics:
    """A supervisor's slot, now."""
    below = list(_below(slot))
    return SupervisorStatistics(
        count=count_below(slot),
        states=dict(Counter(one.state for one in below)),
        restarts=sum(one.restarts for one in below),
        waiting=sum(len(one.box.waiting) for one in below if one.box is not None),
        budget=slot.spending(),
    )


def _below(slot: Slot) -> Iterator[Slot]:
    for one in slot.children.values():
        yield one
        yield from _below(one)


def find(root: Slot, path: str) -> Slot:
    """The slot at a path; raises NoSuchChild."""
    names = path.split("/")
    slot = root
    if names[0] != root.spec.name:
        raise NoSuchChild(f"{path}: the tree is called {root.spec.name}")
    for name in names[1:]:
        if name not in slot.children:
            raise NoSuchChild(f"{path}: {slot.path} has no child {name!r}")
        slot = slot.children[name]
    return slot


def stacks_below(slot: Slot) -> list[str]:
    """Where each living child below a slot waits now."""
    stacks: list[str] = []
    for below in slot.children.values():
        if below.life is not None:
            stacks.append(f"{below.path}:\n{below.life.stack()}")
        stacks += stacks_below(below)
    return stacks
