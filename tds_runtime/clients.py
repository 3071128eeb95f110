"""Who a client is behind proxies that are trusted, and how often one client may come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from tds_runtime.gate import is_loopback

Network = IPv4Network | IPv6Network

REMEMBERED = 10_000
"""Clients that are counted at once; who has not come for longest is forgotten first."""

_FORWARDED = b"x-forwarded-for"
_SITE = 64  # bits: whoever has one IPv6 address has as many


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Addresses (`192.0.2.7`) and ranges (`10.0.0.0/8`); ValueError names what is neither."""
    return tuple(ip_network(name) for name in names)


class Throttle:
    """So many times a second for each client, `burst` of them at once; 0 a second is no limit.

    Of each client one number is kept: when its allowance will be whole again (the generic cell rate algorithm).
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._tolerance = self._interval * (burst - 1)
        self._clock = clock
        self._whole_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until this client may come again; 0 when it may now."""
        return max(0.0, self._whole_at.get(client, 0.0) - self._clock() - self._tolerance)

    def take(self, client: str) -> float:
        """Count one visit, if there may be one; else the seconds until there may."""
        if not self._interval:
            return 0.0
        if wait := self.wait(client):
            return wait
        self._whole_at[client] = max(self._whole_at.get(client, 0.0), self._clock()) + self._interval
        self._whole_at.move_to_end(client)
        if len(self._whole_at) > REMEMBERED:
            self._whole_at.popitem(last=False)
        return 0.0


class Clients:
    """Names the client of a request and counts its visits to what is public.

    `trusted` are the proxies whose `X-Forwarded-For` is believed, `rate` the visits a second of one client. Who is on
    this machine, with no proxy between, is not counted.
    """

    def __init__(
        self, trusted: tuple[Network, ...] = (), rate: int = 0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._trusted = trusted
        self._visits = Throttle(rate, max(1, 2 * rate), clock=clock)

    def name(self, scope: Scope) -> str:
        """The address of the client, of IPv6 its site; empty for a transport without addresses.

        From right to left through `X-Forwarded-For`, as long as the one who wrote it down is trusted: what a stranger
        sends in that header is never believed.
        """
        peer = (scope.get("client") or ("",))[0]
        found = _address(peer)
        if found is None:
            return str(peer)
        for name in _forwarded(scope):
            if not self._is_trusted(found) or (before := _address(name)) is None:
                break
            found = before
        return _site(found)

    def admit(self, scope: Scope) -> float:
        """Count a visit; the seconds to wait when there are too many, 0 when it is welcome."""
        return 0.0 if is_loopback(scope) else self._visits.take(self.name(scope))

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded(scope: Scope) -> list[str]:
    """What stands in `X-Forwarded-For`, the nearest first."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED]
    return [name.strip() for name in reversed(",".join(values).split(","))] if values else []


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(name.partition("%")[0])
    except ValueError:
        return None  # a name, nonsense, or nothing
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _site(address: IPv4Address | IPv6Address) -> str:
    return str(address) if address.version == 4 else str(IPv6Network((address, _SITE), strict=False))  # noqa: PLR2004 - IP's
