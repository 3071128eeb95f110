"""From a described tree to places for it: paths, slots, mailboxes, and references that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator

from tds_runtime.errors import SpecError
from tds_runtime.mailbox import Box
from tds_runtime.pool import Partitions, Pool
from tds_runtime.ref import Address, Ref
from tds_runtime.slot import Slot, World
from tds_runtime.spec import Child, Spec, Supervisor


def plan(tree: Supervisor, world: World) -> Slot:
    """Check the tree and make its slots; raises SpecError and changes nothing when it cannot run."""
    check(tree)
    return place(tree, tree.name, world)


def check(tree: Child, path: str = "") -> None:
    """Give every reference its path, and refuse a tree in which one leads nowhere; `path` is where it is to stand."""
    top = path or tree.name
    placed: dict[int, str] = {}
    addresses = list(_addressed(tree, top))
    for where, address in addresses:
        if id(address) in placed:
            raise SpecError(f"{placed[id(address)]} and {where} are one spec; use .named() to make another")
        placed[id(address)] = where
    for where, spec in _specs(tree, top):
        for argument in (*spec.positional, *spec.keywords.values()):
            if isinstance(argument, Ref) and argument.dangling and id(argument.address) not in placed:
                raise SpecError(f"{where} refers to {argument.address.name}, which is not in the tree")
    for where, address in addresses:
        address.path = where


def place(spec: Child, path: str, world: World) -> Slot:
    """A slot for one child and all below it."""
    slot = Slot(spec, path, world)
    if isinstance(spec, Spec):
        if spec.reads:
            slot.box = Box(path, spec.mailbox, spec.types, pulse=slot.pulse, pace=world.pace)
        bind(spec.address, slot)
    elif isinstance(spec, Supervisor):
        attach(spec, slot)
        slot.children = {below.name: place(below, f"{path}/{below.name}", world) for below in spec.children}
    return slot


def attach(spec: Supervisor, slot: Slot) -> None:
    """Let what a supervisor's description hands out lead to this slot."""
    if isinstance(spec, Pool):
        spec.port.slot = slot
    elif isinstance(spec, Partitions):
        spec.address.path = slot.path
        spec.address.watchers = slot.watchers


def bind(address: Address, slot: Slot) -> None:
    """Let a reference lead to this slot."""
    address.path = slot.path
    address.box = slot.box
    address.watchers = slot.watchers


def _addressed(child: Child, path: str) -> Iterator[tuple[str, Address]]:
    if isinstance(child, (Spec, Partitions)):
        yield path, child.address
    if isinstance(child, Supervisor):
        for below in child.children:
            yield from _addressed(below, f"{path}/{below.name}")


def _specs(child: Child, path: str) -> Iterator[tuple[str, Spec[object]]]:
    if isinstance(child, Spec):
        yield path, child
    elif isinstance(child, Supervisor):
        for below in child.children:
            yield from _specs(below, f"{path}/{below.name}")
