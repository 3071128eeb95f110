"""Ports for processes that are killed and started again."""

import socket
from pathlib import Path
from random import Random

from actors.processes import free_port


def test_a_free_port_is_none_that_the_system_hands_out() -> None:
    """An outgoing connection can never be given the port of a daemon that is away for a moment."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < first for _ in range(50))


def test_a_port_that_is_in_use_is_passed_over() -> None:
    """The next one is tried, with the same randomness that had chosen it."""
    taken = free_port(Random(5))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", taken))
        assert free_port(Random(5)) != taken
