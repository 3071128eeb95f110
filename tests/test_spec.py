from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never

import pytest
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Mailbox, Ref, Supervisor, actor, child, run
from tds_runtime.errors import SpecError
from tds_runtime.signature import classes
from tds_runtime.spec import Settings, Spec

if TYPE_CHECKING:
    from datetime import datetime


class Say(Struct, frozen=True):
    word: str


class Ask(Call[int], frozen=True):
    pass


@actor(mailbox=Mailbox(7), redeliver=2, watchdog=30)
async def reader(ctx: Context, inbox: Inbox[Say | Ask], *, dependency: int = 0) -> None:
    """Reads."""
    async for _ in inbox:
        pass


@actor()
async def plain(ctx: Context, dependency: object = None, *, out: Ref[Say] | None = None) -> None:
    ctx.ready()
    await ctx.stopping.wait()


def test_calling_an_actor_makes_its_spec():
    """The spec carries name, options, dependencies and message types; the plain function stays reachable."""
    spec = reader(dependency=3)
    assert (spec.name, spec.keywords, spec.redeliver, spec.mailbox.capacity) == ("reader", {"dependency": 3}, 2, 7)
    assert set(spec.types) == {Say, Ask}
    assert reader.function.__name__ == reader.__name__ == "reader"
    assert reader.__doc__ == "Reads."
    assert not plain().reads


def test_named_and_options_make_other_specs():
    """A changed spec is another child: its reference is its own."""
    spec = reader()
    other = spec.named("other").options(stop=3)
    assert (other.name, other.stop, other.redeliver, spec.name) == ("other", 3, 2, "reader")
    assert other.ref != spec.ref


def test_unknown_options_are_refused_with_a_hint():
    """A misspelt option is an error that says what was meant."""
    with pytest.raises(SpecError, match="watchdgo is not an option of an actor; did you mean watchdog"):
        reader().options(watchdgo=3)
    with pytest.raises(SpecError, match="nothing"):
        actor(nothing=3)


def test_the_options_are_the_specs_fields():
    """What @actor(...) takes is what a spec has, with the same names."""
    own = {"function", "positional", "keywords", "reads", "types", "address", "name"}
    assert set(Settings.__annotations__) == set(Spec.__struct_fields__) - own


def test_dependencies_that_do_not_fit_are_refused_where_they_are_given():
    """A missing, extra or misspelt dependency is an error when the spec is made, not when the child starts."""
    with pytest.raises(TypeError):
        reader(dependencies=1)
    with pytest.raises(TypeError):
        plain(1, 2)


@pytest.mark.parametrize(
    "options",
    [{"redeliver": -1}, {"watchdog": 0}, {"stop": -1}, {"significant": True}],
)
def test_options_that_make_no_sense_are_refused(options):
    """An impossible option is an error where it is written."""
    with pytest.raises(SpecError):
        reader().options(**options)


def test_only_async_functions_that_take_a_context_are_actors():
    """A plain function, or one without a context, is refused by the decorator."""
    with pytest.raises(SpecError, match="async function"):
        actor()(lambda _: None)

    async def no_context() -> None:
        pass

    with pytest.raises(SpecError, match="context first"):
        actor()(no_context)


@pytest.mark.parametrize("name", ["", "a/b"])
def test_names_that_would_break_paths_are_refused(name):
    """A name is one part of a path."""
    with pytest.raises(SpecError):
        reader().named(name)


def test_two_children_of_one_name_are_refused():
    """Siblings have different names."""
    with pytest.raises(SpecError, match="two children are named 'reader'"):
        Supervisor("tree", children=[reader(), reader()])


def test_one_spec_in_two_places_is_refused():
    """A reference must lead to one place."""
    spec = reader()
    with pytest.raises(SpecError, match="one spec"):
        run(Supervisor("tree", children=[spec, Supervisor("nested", children=[spec])]))


def test_a_reference_to_a_child_that_is_not_in_the_tree_is_refused():
    """A dependency that leads nowhere is found before anything starts."""
    with pytest.raises(SpecError, match="tree/plain refers to reader, which is not in the tree"):
        run(Supervisor("tree", children=[plain(out=reader().ref)]))


def test_child_makes_a_spec_of_a_plain_function():
    """A function that needs nothing but its context needs no decorator."""

    async def tick(ctx: Context) -> None:
        ctx.ready()

    spec = child(tick, name="clock", restart="temporary")
    assert (spec.name, spec.restart) == ("clock", "temporary")
    assert child(tick).name == "tick"
    with pytest.raises(SpecError):
        child(tick, restrat="temporary")


def test_message_types_may_be_local_or_defined_later():
    """A message class that only the defining function knows, or that comes after its actor, is found."""

    class Local(Struct, frozen=True):
        pass

    @actor()
    async def local(ctx: Context, inbox: Inbox[Local]) -> None:
        pass

    assert local().types == (Local,)
    assert early().types == (Late,)


@actor()
async def early(ctx: Context, inbox: Inbox[Late]) -> None:
    pass


class Late(Struct, frozen=True):
    pass


def test_message_types_that_do_not_exist_at_run_time_are_refused():
    """A class imported for the type checker only cannot be checked at the sender."""

    @actor()
    async def typed(ctx: Context, inbox: Inbox[datetime]) -> None:
        pass

    with pytest.raises(SpecError, match="not importable"):
        typed()


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int | str, (int, str)),
        (list[int], (list,)),
        (Annotated[int, "units"], (int,)),
        (Literal["a", "b"], (str,)),
        (None, (type(None),)),
        (Never, ()),
        (Any, None),
        (int | Any, None),
    ],
)
def test_classes_behind_an_annotation(annotation, expected):
    """What isinstance can check of a type expression; None where anything may come."""
    assert classes(annotation) == expected


def test_a_tree_is_plain_data():
    """Building a tree runs nothing and may be done any number of times."""
    for _ in range(2):
        tree = Supervisor("tree", budget=Budget(1, per=5), backoff=Backoff(1), children=[reader(), plain()])
    assert [child.name for child in tree.children] == ["reader", "plain"]


GOOD = """
from typing import assert_never
from msgspec import Struct
from tds_runtime import Call, Context, Inbox, Ref, Supervisor, actor, run

class Status(Struct, frozen=True):
    done: int

class GetStatus(Call[Status], frozen=True):
    pass

class SyncNow(Struct, frozen=True):
    entity: str

class Foreign(Call[int], frozen=True):
    pass

@actor(redeliver=1)
async def entity_sync(ctx: Context, inbox: Inbox[SyncNow | GetStatus], *, database: int) -> None:
    async for message in inbox:
        match message:
            case GetStatus():
                inbox.reply(message, Status(1))
            case SyncNow():
                async with ctx.waiting("database"):
                    ctx.beat()
            case _:
                assert_never(message)

@actor()
async def ticker(ctx: Context, *, out: Ref[SyncNow]) -> None:
    ctx.ready()

spec = entity_sync(database=1).named("product").options(stop=20)

async def use() -> None:
    await spec.ref.tell(SyncNow("x"))
    status: Status = await spec.ref.ask(GetStatus(), timeout=5)
    async with run(Supervisor("tree", children=[spec, ticker(out=spec.ref)])) as runtime:
        runtime.snapshot()
"""

BAD = [
    "await spec.ref.tell(3)",
    "spec.ref.offer('text')",
    "answer: int = await spec.ref.ask(GetStatus())",
    "await spec.ref.ask(Foreign())",
    "await spec.ref.ask(SyncNow('x'))",
    "entity_sync(database='text')",
    "entity_sync()",
    "spec.options(stopp=3)",
    "ticker(out=ticker(out=spec.ref).ref)",
    "await ticker(out=spec.ref).ref.tell(SyncNow('x'))",
    "inbox.reply(GetStatus(), 3)",
    "inbox.reply(SyncNow('x'), Status(1))",
]


def test_mypy_accepts_right_use_and_rejects_each_wrong_one(tmp_path: Path):
    """Wrong messages, foreign questions, wrong answers, wrong replies and wrong references are type errors."""
    wrong = "\n".join(f"    {line}" for line in BAD)
    source = tmp_path / "use.py"
    source.write_text(f"{GOOD}\nasync def wrong(inbox: Inbox[SyncNow | GetStatus]) -> None:\n{wrong}\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--no-pretty"]
    found = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False).stdout
    first = source.read_text().splitlines().index(f"    {BAD[0]}") + 1
    errors = {int(line.split(":")[1]) - first for line in found.splitlines() if ": error:" in line}
    assert errors == set(range(len(BAD)))
