"""What a new tree changes in a running supervisor: who stays, who changes, who comes and who goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tds_runtime.budget import Ledger
from tds_runtime.plan import attach, bind, place
from tds_runtime.slot import Slot, World
from tds_runtime.spec import Child, Spec, Supervisor


class Difference(Struct, frozen=True, eq=False):
    """One supervisor's children, before and after.

    `same` do the same work, perhaps under other options, and live on; `changed` do other work and are started again;
    `nested` are supervisors, which see to their own; `order` are all that will be there, in start order.
    """

    same: tuple[tuple[Slot, Spec[Any]], ...]
    changed: tuple[tuple[Slot, Spec[Any]], ...]
    nested: tuple[tuple[Slot, Supervisor], ...]
    added: tuple[Slot, ...]
    removed: tuple[Slot, ...]
    order: Mapping[str, Slot]


def difference(slots: Mapping[str, Slot], new: Supervisor, path: str, world: World) -> Difference:
    """Compare what runs with what is to run; makes the slots of what is added."""
    same: list[tuple[Slot, Spec[Any]]] = []
    changed: list[tuple[Slot, Spec[Any]]] = []
    nested: list[tuple[Slot, Supervisor]] = []
    added: list[Slot] = []
    order: dict[str, Slot] = {}
    for child in new.children:
        slot = slots.get(child.name)
        if slot is None or not _alike(slot.spec, child):
            slot = place(child, f"{path}/{child.name}", world)
            added.append(slot)
        elif isinstance(child, Supervisor):
            nested.append((slot, child))
        elif isinstance(child, Spec):
            (same if same_work(slot.spec, child) else changed).append((slot, child))
        order[child.name] = slot
    removed = [slot for name, slot in slots.items() if order.get(name) is not slot and not slot.dynamic]
    return Difference(tuple(same), tuple(changed), tuple(nested), tuple(added), tuple(removed), order)


def _alike(old: Child, new: Child) -> bool:
    """Whether the new one can take the old one's place and mailbox."""
    if type(old) is not type(new):
        return False
    return not isinstance(old, Spec) or not isinstance(new, Spec) or old.reads == new.reads


def same_work(old: Child, new: Spec[Any]) -> bool:
    """Whether an actor would do just the same with the new spec: same function, equal dependencies and messages."""
    return (
        isinstance(old, Spec)
        and old.function is new.function
        and old.types == new.types
        and old.positional == new.positional
        and old.keywords == new.keywords
    )


def same_options(old: Child, new: Child) -> bool:
    """Whether nothing but the reference differs."""
    fields = [name for name in old.__struct_fields__ if name != "address"]
    return all(getattr(old, name) == getattr(new, name) for name in fields)


def update(slot: Slot, new: Child) -> None:
    """Let a slot follow a new spec: options, mailbox, budget, and the references to it."""
    old, slot.spec = slot.spec, new
    if isinstance(new, Supervisor):
        attach(new, slot)
    if not isinstance(new, Spec):
        return
    bind(new.address, slot)
    if slot.box is not None:
        slot.box.reconfigure(new.mailbox, new.types)
    if not isinstance(old, Spec) or old.budget != new.budget:
        slot.ledger = None if new.budget is None else Ledger(new.budget)
