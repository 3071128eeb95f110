"""Request and reply: a shop that asks its store, and what happens when the store is slow or breaks.

Look at the types first: `ask(Price("tea"))` is an int because `Price` is a `Call[int]`, and a reply of another type is
an error before anything runs. Then look at the failures. A question never hangs: it ends with its answer, with its
time, or at once when the actor that holds it crashes, and the next question finds the next life.
"""

import sys
from collections.abc import Callable

import anyio

from tds_runtime import Backoff, Call, Context, Inbox, Ref, Supervisor, actor, run
from tds_runtime.errors import NoAnswer

PRICES = {"tea": 3, "coffee": 4}


class Price(Call[int], frozen=True):
    """What one of it costs."""

    item: str


class Quote(Call[str], frozen=True):
    """What many of it cost, in words."""

    count: int
    item: str


@actor(backoff=Backoff(0))
async def store(_: Context, inbox: Inbox[Price]) -> None:
    """Has to walk far for coffee, and breaks at what it does not know."""
    async for question in inbox:
        if question.item == "coffee":
            await anyio.sleep(0.5)
        inbox.reply(question, PRICES[question.item])


@actor()
async def shop(_: Context, inbox: Inbox[Quote], *, prices: Ref[Price]) -> None:
    """Asks before it answers, but not for longer than its own customer waits."""
    async for question in inbox:
        try:
            price = await prices.ask(Price(question.item), timeout=0.2)
        except NoAnswer as failure:
            inbox.reply(question, f"no {question.item} today: {type(failure).__name__}: {failure}")
        else:
            inbox.reply(question, f"{question.count} {question.item} for {question.count * price}")


async def main(say: Callable[[str], None] = print) -> None:
    """Ask for one thing after the other."""
    storing = store()
    selling = shop(prices=storing.ref)
    async with run(Supervisor("street", children=[storing, selling])) as runtime:
        for count, item in ((2, "tea"), (1, "phlogiston"), (3, "tea"), (1, "coffee")):
            say(await selling.ref.ask(Quote(count, item), timeout=1))
        for child in runtime.snapshot().children:
            say(f"{child.name}: {child.restarts} restarts")


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if sys.argv[1:] else "asyncio")
