"""Who a client is, and how often it may come."""

from __future__ import annotations

from typing import Any

import pytest

from tds_runtime import clients
from tds_runtime.clients import Clients, Throttle, networks


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(peer: str, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    return {"client": (peer, 4711), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("6.6.6.6, 198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("6.6.6.6, 198.51.100.1, 10.1.2.3",), "198.51.100.1"),
        ("127.0.0.1", ("6.6.6.6", "198.51.100.1"), "198.51.100.1"),
        ("127.0.0.1", ("10.1.2.3",), "10.1.2.3"),
        ("127.0.0.1", ("unknown",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1, ",), "127.0.0.1"),
        ("::ffff:127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("a socket", (), "a socket"),
    ],
)
def test_only_trusted_proxies_say_who_comes(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    """From the right, as far as those who wrote it are trusted; a stranger's header is nobody's word."""
    known = Clients(networks(["127.0.0.0/8", "10.0.0.0/8"]))
    assert known.name(scope(peer, *forwarded)) == expected


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    """Two seconds' worth at once, then one each interval; the wait that is named is enough."""
    clock = Clock()
    throttle = Throttle(2, 4, clock=clock)
    assert [throttle.take("a") for _ in range(4)] == [0, 0, 0, 0]
    wait = throttle.take("a")
    assert wait == pytest.approx(0.5)
    assert throttle.take("b") == 0
    clock.now += wait
    assert throttle.take("a") == 0
    assert throttle.take("a") > 0


def test_memory_is_bounded_by_the_number_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not come for longest is forgotten first."""
    monkeypatch.setattr(clients, "REMEMBERED", 2)
    throttle = Throttle(1, 1, clock=Clock())
    for name in ("a", "b", "a", "c"):
        throttle.take(name)
    assert [throttle.wait(name) > 0 for name in ("a", "b", "c")] == [False, True, True]


def test_this_machine_is_not_counted_unless_a_proxy_stands_between() -> None:
    """A script beside the daemon may ask as often as it likes; through nginx the same is somebody."""
    known = Clients(networks(["127.0.0.1"]), 1, clock=Clock())
    assert [known.admit(scope("127.0.0.1")) for _ in range(9)] == [0] * 9
    waits = [known.admit(scope("127.0.0.1", "198.51.100.1")) for _ in range(3)]
    assert [wait > 0 for wait in waits] == [False, False, True]


@pytest.mark.parametrize("name", ["nowhere", "10.0.0.1/8", ""])
def test_what_is_no_address_is_refused(name: str) -> None:
    """A proxy that cannot be meant is an error of the configuration."""
    with pytest.raises(ValueError, match=r"address|network|host bits"):
        networks([name])
