"""Hello, tree: two actors that start in order and stop in reverse.

Look at three things. Calling an actor runs nothing; it describes a child. The block of `run` is entered when every
child is ready, each of them started after the one before it was. Leaving the block is all there is to shutting down:
what an actor does after its loop is its clean-up.
"""

import sys
from collections.abc import Callable

import anyio

from tds_runtime import Call, Context, Inbox, Supervisor, actor, run


class Greet(Call[str], frozen=True):
    """Ask for a greeting; the answer is a str, and a type checker knows it."""

    name: str


@actor()
async def house(ctx: Context, *, say: Callable[[str], None]) -> None:
    """Has no inbox: it is there, or it is not."""
    say("the house opens")
    ctx.ready()
    await ctx.stopping.wait()
    say("the house closes")


@actor()
async def greeter(ctx: Context, inbox: Inbox[Greet], *, say: Callable[[str], None]) -> None:
    """Is ready when it asks for its first message; the inbox ends when it is to stop."""
    say(f"the greeter takes its place: {ctx.path}")
    async for message in inbox:
        inbox.reply(message, f"Hello, {message.name}!")
    say("the greeter goes home")


async def main(say: Callable[[str], None] = print) -> None:
    """Bring the tree to life, use it, and leave."""
    door = greeter(say=say)
    tree = Supervisor("hello", strategy="rest_for_one", children=[house(say=say), door])
    async with run(tree) as runtime:
        for child in runtime.snapshot().children:
            say(f"{child.name} is {child.state}")
        say(await door.ref.ask(Greet("tree")))
        say(await door.ref.ask(Greet("world")))


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if sys.argv[1:] else "asyncio")
