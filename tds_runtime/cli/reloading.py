"""Reads the configuration again while the daemon runs: a good one is applied, a broken one changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Generic

from tds_runtime import config, logs
from tds_runtime.cli.session import C, Configured, Host, Session
from tds_runtime.errors import ApplyFailed, ConfigError, Error
from tds_runtime.logs import Logging

AT_START = ("database", "runtime", "log", "http.bind", "http.backlog", "queue.lease")
"""Settings of the process itself: another value waits for the next start, and the log says so."""


class Reloading(Generic[C]):
    """What a process does at SIGHUP; `settings` are those that it has started with."""

    def __init__(self, session: Session[C], host: Host, logging: Logging, settings: C) -> None:
        self._session, self._host, self._logging = session, host, logging
        self._started_with = settings
        self._log = logs.get("config")

    async def __call__(self) -> None:
        """Load, make the tree, apply it; what is wrong is logged with its place, and the daemon goes on as it was."""
        try:
            await self._apply(self._session.load().value)
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("config.refused", file=problem.file, line=problem.line, reason=str(problem))
            self._refused(error)
        except ApplyFailed as error:
            self._log.error("config.unfinished", reason=str(error))
            self._refused(error)
        except Error as error:
            self._log.error("config.refused", reason=str(error))
            self._refused(error)

    async def _apply(self, settings: C) -> None:
        assert self._host.runtime is not None, "signals come to a running tree"
        self._logging.redactor.learn(config.secrets(settings))  # before anything can speak of them
        applied = await self._host.runtime.apply(self._session.tree(settings, self._host))
        self._host.configured = Configured(at=datetime.now(UTC))
        waiting = tuple(_differing(self._started_with, settings))
        self._log.info(
            "config.applied",
            added=applied.added,
            removed=applied.removed,
            restarted=applied.restarted,
            updated=applied.updated,
            waiting_for_restart=waiting,
        )

    def _refused(self, error: Error) -> None:
        self._host.configured = Configured(at=self._host.configured.at, problem=str(error))


def _differing(old: Any, new: Any) -> Iterator[str]:
    return (where for where in AT_START if _at(old, where) != _at(new, where))


def _at(settings: Any, where: str) -> Any:
    for name in where.split("."):
        settings = getattr(settings, name, None)
    return settings
