"""Non-blocking sockets that send a byte at a time or a reset, a gate to hold them up, and where a server listens."""

from __future__ import annotations

import socket
import struct
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.lowlevel import checkpoint

Address = tuple[str, int] | str

CHUNK = 1 << 18
CONNECT = 0.5  # seconds; the server is on this machine, and everybody waits meanwhile
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Gate:
    """Lets through, or makes wait."""

    def __init__(self) -> None:
        self._opened = anyio.Event()
        self._opened.set()

    def close(self) -> None:
        if self._opened.is_set():
            self._opened = anyio.Event()

    def open(self) -> None:
        self._opened.set()

    async def wait(self) -> None:
        while not self._opened.is_set():
            await self._opened.wait()


class Wire:
    """One non-blocking socket; an error while reading is its end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock

    def resets(self) -> None:
        """Let the closing of this socket be a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def receive(self) -> bytes:
        """Wait for bytes; none are the end."""
        while True:
            try:
                return self.socket.recv(CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self.socket)
            except OSError:
                return b""

    async def send(self, data: bytes, *, trickle: bool = False) -> None:
        """Send all, or with `trickle` one byte after the other; OSError when nobody takes it any more."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest[:1] if trickle else rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self.socket)
            if trickle:
                await checkpoint()


def connect(address: Address) -> Wire | None:
    """Connect to a server; None when nobody listens there now."""
    made = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    made.settimeout(CONNECT)
    try:
        made.connect(address)
    except OSError:
        made.close()
        return None
    return Wire(made)


def address_of(dsn: str) -> Address:
    """Where the server of a DSN listens: the path of its Unix socket, or host and port."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    host, port = query.get("host", [parts.hostname or "127.0.0.1"])[0], int(query.get("port", [parts.port or 5432])[0])
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def through(dsn: str, port: int) -> str:
    """The same database and user behind a proxy on a local port."""
    parts = urlsplit(dsn)
    user, _, _ = parts.netloc.rpartition("@")
    return f"postgresql://{user}@127.0.0.1:{port}{parts.path}"
