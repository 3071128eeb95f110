"""Crash and restart: an actor that cannot read one of its messages.

Look at the sums. What an actor keeps in locals dies with its life, so a restart cannot carry bad state along; its
mailbox lives on, so nothing that waits is lost. The message that was in hand is tried once more (`redeliver=1`), in a
new life, and then given up with the story of both tries. No line of the actor is about any of this.
"""

import sys
from collections.abc import Callable

import anyio
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Supervisor, actor, run


class Add(Struct, frozen=True):
    """A number, as somebody wrote it."""

    text: str


class Total(Call[int], frozen=True):
    """Ask for the sum of all numbers of this life."""


@actor(redeliver=1, backoff=Backoff(0.1, factor=2, jitter=0))
async def adder(ctx: Context, inbox: Inbox[Add | Total], *, say: Callable[[str], None]) -> None:
    """Adds up. There is no `try` in here: what it cannot do is its supervisor's business."""
    say(f"life {ctx.incarnation} begins")
    total = 0
    async for message in inbox:
        match message:
            case Add(text):
                say(f"  adding {text!r}")
                total += int(text)
            case Total():
                inbox.reply(message, total)


async def main(say: Callable[[str], None] = print) -> None:
    """Send numbers, one of them in words, and ask what became of them."""
    adding = adder(say=say)
    tree = Supervisor("crash", budget=Budget(3, per=60), children=[adding])
    async with run(tree) as runtime:
        for text in ("1", "2", "three", "40", "50"):
            await adding.ref.tell(Add(text))
        say(f"the sum of this life is {await adding.ref.ask(Total())}")
        for letter in runtime.dead_letters():
            say(f"given up after {letter.attempts} tries: {letter.message.text!r}, because of {letter.failures[-1]}")
        child = runtime.snapshot("crash/adder")
        say(f"{child.name} is {child.state} after {child.restarts} restarts")


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if sys.argv[1:] else "asyncio")
