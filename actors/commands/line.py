"""The daemon's command line: the engine's verbs and its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing

from cyclopts import App

from actors import schedules
from actors.commands import (
    alert,
    audit,
    bench,
    breaker,
    checks,
    demo,
    entity,
    inbox,
    init,
    metrics,
    openapi,
    reconcile,
    run,
    sandbox,
    schedule,
    service_levels,
    sync,
    token,
    zoho,
)
from actors.configuration import Config
from actors.tree import Trees
from actors.zoho import absent, entities
from tds_runtime import cli, logs
from tds_runtime.cli.status import Thresholds


def command_line(session: cli.Session[Config]) -> App:
    """Every verb."""
    app = cli.app(
        session,
        statements=_statements,
        thresholds=_thresholds,
        levels=service_levels.show,
        checks=(checks.target_tables, checks.source),
    )
    for noun in (sync, reconcile, run, schedule, entity, alert, zoho, openapi):
        noun.register(app, session)
    for shared in (inbox, audit, breaker, token):
        shared.register(app, session)
    init.register(app, session.output)
    demo.register(app, session.output)
    metrics.register(app, session.output)
    sandbox.register(app)
    bench.register(app, session.output)
    return app


def main(tokens: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    quiet = logs.Options(level="warning", format="console")  # `run` speaks as it is configured to
    with closing(logs.configure(quiet, stream=sys.stderr)) as logging:
        session = cli.Session(Trees(), Config, defaults=schedules.defaults, learn=logging.redactor.learn)
        return cli.launch(command_line(session), session.output, tokens)


def _statements(config: Config) -> Sequence[str]:
    return absent.statements(entities.load(config.entities.directory).tables)


def _thresholds(config: Config) -> Thresholds:
    limits = config.healer.thresholds
    return Thresholds(pending=limits.queue_warning, dead_letters=limits.dlq_warning)
