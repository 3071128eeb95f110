"""`python -m actors.sandbox`: the sandbox as a process of its own; one JSON line on stdout when it is ready."""

from __future__ import annotations

import sys
from typing import Literal

import anyio
import cyclopts
import msgspec

from actors.sandbox.options import Announcement, Options, switched
from actors.sandbox.server import serve


def announce(announcement: Announcement) -> None:
    """Print the line that whoever started us waits for."""
    sys.stdout.write(msgspec.json.encode(announcement).decode() + "\n")
    sys.stdout.flush()


def sandbox(
    *,
    port: int = 0,
    seed: int = 1,
    scale: float = 1.0,
    limits: bool = True,
    latency_ms: float = 0.0,
    edition: Literal["global", "in"] = "global",
    time_zone: str = "Asia/Baghdad",
    cache_mb: int = 64,
    switch: list[str] | None = None,
    host: str = "127.0.0.1",
    tied: bool = False,
) -> None:
    """Run a Zoho on this machine until it is asked to end.

    Args:
        port: Where to listen; 0 picks a free port.
        seed: The same seed gives the same data.
        scale: Multiplies items, contacts and documents.
        limits: Whether the API's limits are kept (--no-limits for benches).
        latency_ms: Milliseconds that every API call takes longer.
        edition: Which edition's keys the documents have.
        time_zone: Of the organisation.
        cache_mb: Megabytes of written documents that are kept at most; 0 writes each one anew.
        switch: An open point as name=value, for example --switch delete_body=empty; may be given again.
        host: The address to listen on.
        tied: End also when stdin is closed, for a parent that holds the other end.
    """
    try:
        switches = switched(switch or ())
    except ValueError as error:  # msgspec's errors are ValueErrors too
        sys.stderr.write(f"sandbox: {error}\n")
        raise SystemExit(2) from None
    options = Options(
        host=host, port=port, seed=seed, scale=scale, limits=limits, latency_ms=latency_ms, edition=edition,
        time_zone=time_zone, cache_mb=cache_mb, switches=switches,
    )  # fmt: skip

    async def run() -> None:
        await serve(options, ready=announce, tied=tied)

    anyio.run(run, backend="asyncio")


def main() -> None:
    """Parse the command line and run."""
    cyclopts.App(name="sandbox", default_command=sandbox)()


if __name__ == "__main__":
    main()
