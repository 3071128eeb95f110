"""What a command works with: the configuration it was pointed at, and a database it can reach."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from tds_runtime import config, database, embedded, http, logs
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.config import Duration, Loaded
from tds_runtime.database import Database
from tds_runtime.errors import ConfigError, Problem
from tds_runtime.runtime import Runtime
from tds_runtime.spec import Supervisor
from tds_runtime.tap import Tap

CONFIG_NAME = "tds.toml"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [runtime]."""

    grace: Duration = Duration("25s")
    """From the first SIGTERM to the end, whatever is in work."""
    blocked_after: Duration = Duration("5s")
    """An event loop that has not turned for so long is reported, with the stack that holds it."""


class DaemonConfig(Protocol):
    """The sections that every daemon of this engine has."""

    @property
    def runtime(self) -> Options: ...
    @property
    def database(self) -> database.Options: ...
    @property
    def http(self) -> http.Options: ...
    @property
    def log(self) -> logs.Options: ...


C = TypeVar("C", bound=DaemonConfig)


class Configured(Struct, frozen=True, kw_only=True):
    """Since when the present configuration is at work, and what is wrong with a newer one that was refused."""

    at: datetime
    problem: str = ""


class Host:
    """What a process gives to its tree: its socket, its log's events, how it is configured, and the runtime at last."""

    def __init__(self, listening: socket, tap: Tap | None = None) -> None:
        self.listening = listening
        self.tap = tap or Tap()
        self.runtime: Runtime | None = None
        self.configured = Configured(at=datetime.now(UTC))

    @property
    def address(self) -> str:
        """Where the daemon listens, as host:port."""
        return http.address(self.listening)

    def get(self) -> Runtime | None:
        """The running tree, for actors that show it or act on it; None while it is being made."""
        return self.runtime

    def configuration(self) -> Configured:
        """How the configuration stands now, for actors that show it."""
        return self.configured


class Session(Generic[C]):
    """One invocation of the command line."""

    def __init__(
        self,
        tree: Callable[[C, Host], Supervisor],
        shape: type[C],
        *,
        defaults: config.Defaults | None = None,
        environ: Mapping[str, str] | None = None,
        output: Output | None = None,
        learn: Callable[[Iterable[str]], object] = lambda _secrets: None,
    ) -> None:
        """`learn` is told the secrets of what was loaded, before anything can speak of them."""
        self.tree = tree
        self.shape = shape
        self.defaults = defaults
        self.environ = os.environ if environ is None else environ
        self.output = output or Output(environ=self.environ)
        self.learn = learn
        self.path = Path(CONFIG_NAME)

    def load(self) -> Loaded[C]:
        """Read the configuration; `ConfigError` with advice when there is none."""
        if not self.path.exists():
            advice = "`tds-runtime init DIRECTORY` makes one; `--config FILE` names another"
            raise ConfigError([Problem(message="there is no such file", file=str(self.path), hint=advice)])
        loaded = config.load(self.path, self.shape, self.environ, defaults=self.defaults)
        self.learn(config.secrets(loaded.value))
        return loaded

    @property
    def operator(self) -> str:
        """Who types, for the records of what was done."""
        return self.environ.get("SUDO_USER") or self.environ.get("USER") or f"uid {os.getuid()}"

    @asynccontextmanager
    async def database(self, options: database.Options, *, start: bool = False) -> AsyncIterator[Database]:
        """Connect to the database, beside a running daemon or without one; `start` an embedded server if need be.

        Raises:
            Ended: unreachable, with what to do about it.
        """
        server = embedded.Server(options.data_directory) if start and options.dsn == "embedded" else None
        if server:
            await server.start()
        elif options.dsn == "embedded" and await embedded.attach(options.data_directory) is None:
            raise Ended(
                f"No embedded Postgres runs in {options.data_directory}: start the daemon with `tds-runtime run`.",
                Exit.UNREACHABLE,
            )
        try:
            async with Database(options, application_name="tds-runtime-cli").opened() as opened:
                yield opened
        finally:
            if server:
                await server.stop()


def duration(text: str) -> Duration:
    """A duration that was typed; `Ended` when it is none."""
    try:
        return Duration(text)
    except ValueError as error:
        raise Ended(str(error), Exit.USAGE) from error
