"""Live reconfiguration: a tree becomes another one while it runs.

Look at the lives. `apply` compares what runs with what is to run. A child that would do the same work under another
backoff lives on and follows its new options from then on; one that is no longer there stops gracefully; a new one
starts; one with other dependencies is started again. A tree that cannot run is refused, and changes nothing.
"""

import sys
from collections.abc import Callable, Mapping

import anyio

from tds_runtime import Backoff, Context, Supervisor, actor, run
from tds_runtime.errors import SpecError

Say = Callable[[str], None]


@actor()
async def feed(ctx: Context, url: str, *, say: Say) -> None:
    """Follows one address until it is told to stop."""
    say(f"  {ctx.path} follows {url}")
    ctx.ready()
    await ctx.stopping.wait()
    say(f"  {ctx.path} says good-bye")


def tree(urls: Mapping[str, str], say: Say, *, patience: float = 1.0) -> Supervisor:
    """What a configuration means: one child for each of its lines."""
    backoff = Backoff(patience)
    return Supervisor(
        "feeds", children=[feed(url, say=say).named(name).options(backoff=backoff) for name, url in urls.items()]
    )


async def main(say: Say = print) -> None:
    """Start with two feeds, then change the configuration three times."""
    async with run(tree({"news": "/news", "jobs": "/jobs"}, say)) as runtime:
        say("another backoff:")
        say(f"  {await runtime.apply(tree({'news': '/news', 'jobs': '/jobs'}, say, patience=5))}")
        say("jobs go, mail comes, news move:")
        say(f"  {await runtime.apply(tree({'news': '/today', 'mail': '/mail'}, say, patience=5))}")
        say("nonsense:")
        try:
            await runtime.apply(tree({"a/b": "/"}, say))
        except SpecError as refusal:
            say(f"  refused: {refusal}")
        for child in runtime.snapshot().children:
            say(f"{child.name} is {child.state} in life {child.incarnation}")


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if sys.argv[1:] else "asyncio")
