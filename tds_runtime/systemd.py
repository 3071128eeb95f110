"""Talking to systemd: ready, reloading, stopping, more time, status and watchdog, by one datagram each."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

_USEC = 1_000_000


class Systemd:
    """The service manager that started this process, if one did; without one every call does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        watched = environ.get("WATCHDOG_PID", "")
        mine = not watched or watched == str(os.getpid() if pid is None else pid)
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog: float | None = int(usec) / _USEC if self._address and mine and usec.isdecimal() else None
        """How often, in seconds, it wants to hear that all is well, at the latest; None when it does not."""

    def ready(self) -> None:
        """The service is up."""
        self.notify("READY=1")

    def reloading(self) -> None:
        """The service begins to take over what has changed; `ready` says that it has."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000  # the clock that Type=notify-reload compares
        self.notify(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def extend(self, seconds: float) -> None:
        """What is going on, start, reload or stop, may take so much longer from now."""
        self.notify(f"EXTEND_TIMEOUT_USEC={int(seconds * _USEC)}")

    def stopping(self) -> None:
        """The service begins to stop."""
        self.notify("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self.notify("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """All is well."""
        self.notify("WATCHDOG=1")

    def notify(self, state: str) -> None:
        """Send one state; a manager that is gone or slow is no reason to fail."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.setblocking(False)  # the socket module's own spelling
            try:
                connection.sendto(state.encode(), address)
            except OSError:
                return
