"""The daemon's command line: the engine's verbs and its own."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App

from actors import schedules
from actors.commands import bench, demo, init, sandbox, sync, token
from actors.tree import Config, tree
from actors.zoho import absent, entities
from tds_runtime import cli
from tds_runtime.cli.status import Thresholds


def command_line(session: cli.Session[Config]) -> App:
    """Every verb."""
    app = cli.app(session, statements=_statements, thresholds=_thresholds)
    sync.register(app, session)
    token.register(app, session)
    init.register(app, session.output)
    demo.register(app, session.output)
    sandbox.register(app)
    bench.register(app, session.output)
    return app


def main(tokens: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    session = cli.Session(tree, Config, defaults=schedules.defaults)
    return cli.launch(command_line(session), session.output, tokens)


def _statements(config: Config) -> Sequence[str]:
    return absent.statements(entities.load(config.entities.directory).tables)


def _thresholds(config: Config) -> Thresholds:
    limits = config.healer.thresholds
    return Thresholds(pending=limits.queue_warning, dead_letters=limits.dlq_warning)
