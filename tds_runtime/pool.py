"""Children that come and go, and children that share one stream of messages by key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary
from zlib import crc32

from msgspec import Struct, field
from msgspec.structs import replace

from tds_runtime.errors import NoSuchChild, NotRunning, SpecError
from tds_runtime.mailbox import Statistics
from tds_runtime.ref import Address, Question, Ref
from tds_runtime.slot import Running, Slot
from tds_runtime.spec import Actor, Spec, Supervisor

M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)


class Port:
    """Where a pool's description meets the pool that runs."""

    __slots__ = ("addresses", "slot")

    def __init__(self) -> None:
        self.slot: Slot | None = None
        self.addresses: WeakValueDictionary[str, Address] = WeakValueDictionary()

    def address(self, name: str) -> Address:
        """The one address of a child's name, as long as anybody holds it."""
        address = self.addresses.get(name)
        if address is None:
            self.addresses[name] = address = Address(name)
        return address

    def running(self, name: str) -> Running:
        """The pool that runs."""
        if self.slot is None or self.slot.supervision is None:
            raise NotRunning(f"the pool {name} is not running")
        return self.slot.supervision


class PoolStatistics(Struct, frozen=True, kw_only=True):
    """A pool at one moment: its children, how many of them live or are quarantined, and all their restarts."""

    limit: float
    children: int
    active: int
    quarantined: int
    restarts: int


class Pool(Supervisor, Generic[P, M], frozen=True, eq=False, kw_only=True):
    """Any number of children of one actor, started and stopped by name while the tree runs.

    A child that crashes is restarted as the actor's options say; one that has ended for good is forgotten. All
    children stop at the same time. `limit` bounds their number. A pool that is started again is empty. Raises
    SpecError for fixed children and for any strategy but one_for_one.
    """

    template: Actor[P, M]
    limit: float = inf
    port: Port = field(default_factory=Port)

    stops_together: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.template, Actor):
            raise SpecError(
                f"{self.name}: a template is an actor without its dependencies, not a {type(self.template).__name__}"
            )
        if self.children or self.strategy != "one_for_one":
            raise SpecError(f"{self.name}: a pool has no fixed children and knows only one_for_one")

    async def start(self, name: str, /, *args: P.args, **kwargs: P.kwargs) -> Ref[M]:
        """Start one more child and wait until it is ready.

        Raises StartFailed (and keeps nothing of it), AlreadyRunning, PoolFull or NotRunning; TypeError when the
        dependencies do not fit.
        """
        spec = replace(self.template(*args, **kwargs).named(name), address=self.port.address(name))
        arrival = self.port.running(self.name).add(spec, self.limit)
        await arrival.arrived.wait()
        if arrival.error is not None:
            raise arrival.error
        return spec.ref

    async def stop_child(self, name: str) -> None:
        """Stop a child gracefully and forget it; returns when it has ended. Raises NoSuchChild or NotRunning."""
        pool = self.port.running(self.name)
        assert self.port.slot is not None
        slot = self.port.slot.children.get(name)
        if slot is None:
            raise NoSuchChild(f"{self.port.slot.path} has no child {name!r}")
        await pool.remove(slot).arrived.wait()

    def ref(self, name: str) -> Ref[M]:
        """The way to reach the child of this name, when there is one: NotRunning before, Stopped after."""
        return Ref(self.port.address(name))

    def statistics(self) -> PoolStatistics:
        """The pool now; all zero when it does not run."""
        slots = [] if self.port.slot is None else list(self.port.slot.children.values())
        return PoolStatistics(
            limit=self.limit,
            children=len(slots),
            active=sum(slot.life is not None for slot in slots),
            quarantined=sum(slot.state == "quarantined" for slot in slots),
            restarts=sum(slot.restarts for slot in slots),
        )


class Partitions(Supervisor, Generic[M], frozen=True, eq=False, kw_only=True):
    """A fixed number of like actors that share one stream: messages of one key go to one of them, in order.

    `key` gives a message's key; the same key leads to the same partition in every process and on every machine.
    """

    key: Callable[[M], Hashable]
    address: Address

    @property
    def ref(self) -> Ref[M]:
        """The way to reach the partition that a message belongs to."""
        return PartitionedRef(self.address, [child.ref for child in self.children if isinstance(child, Spec)], self.key)


def partitions(name: str, spec: Spec[M], count: int, key: Callable[[M], Hashable], **options: Any) -> Partitions[M]:
    """`count` children like `spec`, named 0 to count - 1, behind one reference; `options` are a supervisor's.

    Raises SpecError for a count below 1.
    """
    if count < 1:
        raise SpecError(f"{name}: there is at least one partition, got {count}")
    children = [spec.named(str(number)) for number in range(count)]
    return Partitions(name, children=children, key=key, address=Address(name), **options)


def _sum(parts: list[Statistics]) -> Statistics:
    return Statistics(**{name: sum(getattr(part, name) for part in parts) for name in Statistics.__struct_fields__})


class PartitionedRef(Ref[T_contra]):
    """A reference that leads each message to the partition of its key."""

    __slots__ = ("_key", "_refs")

    def __init__(self, address: Address, refs: list[Ref[Any]], key: Callable[[Any], Hashable]) -> None:
        super().__init__(address)
        self._refs = refs
        self._key = key

    def partition(self, message: T_contra) -> Ref[T_contra]:
        """The partition that this message belongs to."""
        return self._refs[crc32(str(self._key(message)).encode()) % len(self._refs)]

    async def tell(self, message: T_contra) -> None:
        await self.partition(message).tell(message)

    def offer(self, message: T_contra) -> bool:
        return self.partition(message).offer(message)

    async def ask(self, question: Question[T_contra, R], timeout: float = 5.0) -> R:  # noqa: ASYNC109 # as in Ref
        partition: Ref[Any] = self.partition(question)  # type: ignore[arg-type] # a question is a message
        return await partition.ask(question, timeout)

    def statistics(self) -> Statistics:
        return _sum([ref.statistics() for ref in self._refs])
