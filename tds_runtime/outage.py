"""Waiting out what is expected to come back: one piece for every client of something fallible."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from random import Random
from typing import TypeVar

from anyio import move_on_after

from tds_runtime.backoff import Backoff
from tds_runtime.context import Context
from tds_runtime.errors import Outage

T = TypeVar("T")


async def ride_out(
    ctx: Context,
    name: str,
    operation: Callable[[], Awaitable[T]],
    *,
    outages: tuple[type[Exception], ...] = (Outage,),
    cap: float = 2.0,
    random: Random | None = None,
) -> T:
    """Try `operation` until it is through, as long as it fails with one of `outages`.

    Between tries it waits with jittered backoff, at most `cap` seconds, as the named wait `name`, so an outage is
    neither a crash nor a hang. When the actor is to stop, the outage at hand is raised instead of waited out.
    """
    backoff = Backoff(min(0.05, cap), cap, jitter=0.5, reset_after=inf)
    random = random or Random()  # noqa: S311 # spreads retries, keeps no secret
    attempt = 1
    while True:
        try:
            return await operation()
        except outages:
            if ctx.stopping.is_set():
                raise
        async with ctx.waiting(name):
            with move_on_after(backoff.delay(attempt, random)):
                await ctx.stopping.wait()
        attempt += 1
