"""Which servers a connection URL names, so that each is tried for its share of the time and the last good one first.

The driver gives the whole time to the first host that is silent, as a machine that died is, and then the others are
never asked; a fail-over is what several hosts are named for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from msgspec import Struct

from tds_runtime import sqlstate

PORT = 5432


class Host(Struct, frozen=True):
    """One server: a name, an address or the directory of a socket, and a port."""

    name: str
    port: int


class Hosts:
    """The servers of one URL, and how many seconds there are for all of them together."""

    def __init__(self, dsn: str, patience: float) -> None:
        self._hosts = list(named(dsn))
        self._patience = float(patience)

    async def connect(self, dsn: str, **more: Any) -> Any:
        """Connect to the first server that answers as it should: what a pool calls, with the driver's arguments.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: what the last one tried had to say.
        """
        if not self._hosts[1:]:
            return await asyncpg.connect(dsn, timeout=self._patience, **more)
        *others, last = self._hosts
        for host in others:
            with suppress(*sqlstate.FAILURES):
                return await self._try(host, dsn, **more)
        return await self._try(last, dsn, **more)

    async def _try(self, host: Host, dsn: str, **more: Any) -> Any:
        share = self._patience / len(self._hosts)
        wire = await asyncpg.connect(dsn, host=host.name, port=host.port, timeout=share, **more)
        self._hosts.sort(key=lambda one: one != host)  # the good one first, the others in their order
        return wire


def named(dsn: str) -> Sequence[Host]:
    """Return the servers of a URL, in order; () when it names none, or wrongly: then the driver has the word."""
    url = urlsplit(dsn)
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    places = query.get("host") or url.netloc.rpartition("@")[2]
    pairs = [_split(place) for place in places.split(",") if place]
    given = query.get("port", "").split(",")
    ports = given * len(pairs) if len(given) == 1 else given
    if len(ports) != len(pairs):
        return ()
    return tuple(Host(name, int(own or port or PORT)) for (name, own), port in zip(pairs, ports, strict=True))


def _split(place: str) -> tuple[str, str]:
    """A place into its name and its port, "" when it has none; an address of IPv6 stands in brackets."""
    name, _, port = place.rpartition(":")
    if place.startswith("/") or not port.isdigit() or not name:
        name, port = place, ""
    return unquote(name).removeprefix("[").removesuffix("]"), port
