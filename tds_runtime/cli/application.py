"""Builds the command line and turns whatever a command ends with into an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from tds_runtime.cli import configuration, dead_letters, process, queue, schema, status
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.session import CONFIG_NAME, C, Session
from tds_runtime.errors import ConfigError, DatabaseRefused, Error, Outage


def app(
    session: Session[C],
    *,
    name: str = "tds-runtime",
    statements: schema.Statements[C] = lambda _config: (),
    checks: Sequence[configuration.Check[C]] = (),
    thresholds: Callable[[C], status.Thresholds] = lambda _config: status.Thresholds(),
    levels: status.ServiceLevels[C] | None = None,
) -> App:
    """The command line of a daemon: run, check, config, migrate, status, queue, dlq; the daemon adds its own verbs.

    `statements` are the daemon's own tables for `migrate`, `checks` what `check --connect` tries beside the
    database, `thresholds` from where on `status` says that something is wrong, `levels` what `status --slo` shows.
    """
    commands = App(
        name=name,
        help="Keeps an ERP's Postgres in step with its source.",
        version=metadata.version("tds-runtime"),
        console=session.output.help,
        error_console=session.output.stderr,
        backend="asyncio",
    )
    commands.command(lambda: process.run_daemon(session), name="run", help=process.run_daemon.__doc__)
    configuration.register(commands, session, checks)
    schema.register(commands, session, statements)
    status.register(commands, session, thresholds, levels)
    queue.register(commands, session)
    dead_letters.register(commands, session)

    @commands.meta.default
    def with_config(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[Path, Parameter(name=["--config", "-c"], env_var="TDS_CONFIG")] = Path(CONFIG_NAME),
    ) -> Any:
        """Point a command at its configuration.

        Args:
            *tokens: the command.
            config: the configuration file.
        """
        session.path = config
        return commands(tokens, exit_on_error=False, result_action="return_value")

    return commands


def launch(commands: App, output: Output, tokens: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; what went wrong is said on stderr."""
    try:
        result = commands.meta(tokens, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return Exit.USAGE  # cyclopts has said what is wrong
    except BrokenPipeError:
        return Exit.OK  # the reader of our output has seen enough
    except Error as error:
        output.note(str(error))
        return _code(error)
    return int(result) if isinstance(result, int) else Exit.OK


def _code(error: Error) -> int:
    match error:
        case Ended():
            return error.code
        case ConfigError() | DatabaseRefused():
            return Exit.CONFIG
        case Outage():
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED
