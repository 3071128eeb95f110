"""What somebody reads who uses the engine for the first time and gets one thing wrong."""

from __future__ import annotations

import pytest
from msgspec import Struct

from tds_runtime import Call, Context, Inbox, Mailbox, Pool, Supervisor, actor, run
from tds_runtime.errors import NotRunning, SpecError, StartFailed, WrongMessage


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Ping(Struct, frozen=True):
    pass


class Get(Call[int], frozen=True):
    pass


@actor()
async def reader(ctx: Context, inbox: Inbox[Ping | Get]) -> None:
    async for _ in inbox:
        pass


@actor()
async def plain(ctx: Context) -> None:
    ctx.ready()
    await ctx.stopping.wait()


@actor()
async def short(ctx: Context) -> None:
    pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Supervisor("t", strategy="one_for_al"), "strategy is one of one_for_one"),
        (lambda: Supervisor("t", auto_shutdown="always"), "auto_shutdown is one of never"),
        (lambda: reader().options(restart="always"), "restart is one of permanent"),
        (lambda: Mailbox(1, overflow="drop"), "overflow is one of block"),
        (lambda: Supervisor("t", children=[reader]), "a Actor is no child; call an actor with its dependencies"),
        (lambda: run(reader), "a Actor is no child"),
        (lambda: Supervisor([reader()]), "a name is not empty"),
        (lambda: Pool("p", template=reader()), "a template is an actor without its dependencies"),
        (lambda: actor(plain.function), "with brackets"),
    ],
)
def test_a_tree_that_means_something_else_is_refused(wrong, message):
    """A misspelt word or a forgotten pair of brackets is told where it stands, not taken for something else."""
    with pytest.raises(SpecError, match=message):
        wrong()


def test_a_missing_dependency_names_its_actor():
    """Of many calls in a tree, the one that is wrong."""
    with pytest.raises(TypeError, match="reader: got an unexpected keyword argument 'database'"):
        reader(database=1)


@pytest.mark.anyio
async def test_what_cannot_be_sent_says_why():
    """A message to an actor without an inbox, and a question that is none."""
    reading, silent = reader(), plain()
    async with run(Supervisor("t", children=[reading, silent])) as runtime:
        with pytest.raises(NotRunning, match="t/plain has no mailbox"):
            await silent.ref.tell(Ping())
        with pytest.raises(WrongMessage, match="Ping is no Call"):
            await reading.ref.ask(Ping())
        with pytest.raises(NotRunning, match="t is the root"):
            await runtime.restart("t")


@pytest.mark.anyio
async def test_an_end_before_readiness_says_what_readiness_is():
    """The error tells what was missing."""
    with pytest.raises(StartFailed, match=r"neither called ctx.ready\(\) nor asked for a message"):
        async with run(short()):
            pytest.fail("never entered")
