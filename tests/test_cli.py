from __future__ import annotations

import io
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from msgspec import Struct

from tds_runtime import Context, Supervisor, child, cli, database, http, logs
from tds_runtime.cli import Ended, Exit, Host, Output, Session
from tds_runtime.cli.output import printable
from tds_runtime.config import Secret
from tds_runtime.errors import ConfigError, DatabaseGone, DatabaseRefused, Error, Problem


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    database: database.Options
    runtime: cli.Options = cli.Options()
    http: http.Options = http.Options()
    log: logs.Options = logs.Options()
    token: Secret = Secret("")


async def idle(ctx: Context) -> None:
    ctx.ready()
    await ctx.stopping.wait()


def tree(config: Config, host: Host) -> Supervisor:
    if config.token == "impossible":
        raise ConfigError([Problem(message="no entity is mapped", file="config/entities")])
    return Supervisor("test", children=[child(idle)])


class Command:
    """A command line over captured streams."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.path = directory / "tds.toml"
        self.output = Output(self.stdout, self.stderr, environ)
        self.session = Session(tree, Config, environ=environ, output=self.output)
        self.checks: list[Callable[[Config], Any]] = []
        self.app = cli.app(self.session, checks=self.checks)

    def __call__(self, *words: str) -> int:
        return cli.launch(self.app, self.output, [*words, "--config", str(self.path)])

    @property
    def data(self) -> str:
        return self.stdout.getvalue()

    @property
    def notes(self) -> str:
        return self.stderr.getvalue()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    made = Command(tmp_path)
    made.path.write_text('token = "tokentoken"\n[database]\ndsn = "postgresql://u:pa55word@127.0.0.1:9/x"\n')
    return made


# --- check and config


def test_a_valid_configuration_is_said_to_be(command: Command) -> None:
    """`check` reads the file, builds the tree and starts nothing."""
    assert command("check") == Exit.OK
    assert "is valid" in command.notes
    assert command.data == ""


def test_every_problem_is_listed_and_the_exit_code_says_configuration(command: Command) -> None:
    """`check` prints each error with its place and exits 78."""
    command.path.write_text('[database]\ndns = "embedded"\n[http]\nbind = 5\n')
    assert command("check") == 78
    assert "tds.toml:2:1: there is no setting database.dns" in command.notes
    assert "did you mean dsn?" in command.notes
    assert "tds.toml:4:8: expected `str`" in command.notes
    assert "database.dsn is missing" in command.notes


def test_a_tree_that_cannot_be_built_is_a_configuration_error(command: Command) -> None:
    """What the daemon itself refuses comes out the same way."""
    command.path.write_text('token = "impossible"\n[database]\ndsn = "x"\n')
    assert command("check") == 78
    assert "no entity is mapped" in command.notes


def test_a_missing_file_comes_with_advice(command: Command) -> None:
    """Without a configuration the command says how to get one."""
    command.path.unlink()
    assert command("check") == 78
    assert "tds-runtime init" in command.notes


def test_check_connect_says_what_cannot_be_reached(command: Command) -> None:
    """With --connect the database and the daemon's own checks are tried; exit 69 when one fails."""

    async def source(_config: Config) -> list[str]:
        return ["source: no answer"]

    command.checks.append(source)
    assert command("check", "--connect") == 69
    assert "database: " in command.notes
    assert "source: no answer" in command.notes


def test_config_show_masks_secrets(command: Command) -> None:
    """What is configured is shown without the secrets in it."""
    assert command("config", "show") == 0
    assert "********" in command.data
    assert "tokentoken" not in command.data
    assert "pa55word" not in command.data
    assert "http.bind" in command.data


def test_config_show_origin_names_the_source(tmp_path: Path) -> None:
    """Each value has a file and line, a variable, or is a default."""
    command = Command(tmp_path, TDS_HTTP__BIND="127.0.0.1:0")
    command.path.write_text('[database]\ndsn = "embedded"\n')
    assert command("config", "show", "--origin", "--json") == 0
    shown = json.loads(command.data)
    assert shown["database.dsn"] == {"value": "embedded", "origin": f"{command.path}:2"}
    assert shown["http.bind"] == {"value": "127.0.0.1:0", "origin": "TDS_HTTP__BIND"}
    assert shown["log.level"] == {"value": "info", "origin": "default"}
    command.stdout.truncate(0)
    assert command("config", "show", "--origin") == 0
    assert "TDS_HTTP__BIND" in command.data


def test_config_show_json_is_the_configuration(command: Command) -> None:
    """As JSON the sections are nested as in the file."""
    assert command("config", "show", "--json") == 0
    assert json.loads(command.data)["runtime"]["grace"] == "25s"


def test_config_schema_is_json_schema(command: Command) -> None:
    """Editors can check a configuration file; no file is needed to print it."""
    command.path.unlink()
    assert command("config", "schema") == 0
    assert "Config" in json.loads(command.data)["$defs"]


# --- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Ended("no such thing", Exit.NOT_FOUND), 4),
        (Ended("taken", Exit.CONFLICT), 5),
        (DatabaseGone("away"), 69),
        (DatabaseRefused("fsync is off"), 78),
        (Error("something else"), 1),
        (ConfigError("wrong"), 78),
        (BrokenPipeError(), 0),
    ],
)
def test_each_ending_has_its_exit_code(command: Command, error: Exception, code: int) -> None:
    """Scripts can tell what went wrong by the number, people by the sentence on stderr."""

    @command.app.command
    async def fail() -> None:
        raise error

    assert command("fail") == code
    assert str(error) in command.notes


@pytest.mark.parametrize("words", [("chekc",), ("check", "--conect"), ("config", "show", "--origin=5")])
def test_wrong_usage_is_exit_2(command: Command, words: tuple[str, ...]) -> None:
    """A command that cannot be understood is explained and exits 2."""
    assert command(*words) == 2
    assert command.notes != ""


def test_help_and_version_are_data(command: Command) -> None:
    """Help names every verb; asking for it is no failure."""
    assert command("--help") == 0
    for verb in ("run", "check", "config", "migrate", "status", "queue"):
        assert verb in command.data
    assert command("--version") == 0


@pytest.mark.parametrize("verb", ["status", "queue", "migrate"])
def test_an_unreachable_database_is_exit_69(command: Command, verb: str) -> None:
    """Verbs that need the database say that it is not there."""
    assert command(verb) == 69
    assert "127.0.0.1" in command.notes or "database" in command.notes.lower() or "Postgres" in command.notes


def test_an_embedded_database_that_does_not_run_is_explained(command: Command) -> None:
    """Beside no daemon there is no embedded Postgres: exit 69 with what to do."""
    command.path.write_text('[database]\ndsn = "embedded"\n')
    assert command("status") == 69
    assert "tds-runtime run" in command.notes


def test_an_address_in_use_is_named(command: Command) -> None:
    """A daemon that cannot listen ends at once and says where it wanted to."""
    with http.listen_socket("127.0.0.1:0") as taken:
        address = http.address(taken)
        command.path.write_text(f'[database]\ndsn = "embedded"\n[http]\nbind = "{address}"\n')
        assert command("run") == 1
    assert address in command.notes


# --- run


async def stops_itself(ctx: Context) -> None:
    ctx.ready()
    os.kill(os.getpid(), signal.SIGTERM)
    await ctx.stopping.wait()


async def cannot_start(ctx: Context) -> None:
    raise ValueError("no such column")


@pytest.fixture
def running(command: Command) -> Iterator[Command]:
    command.path.write_text('[database]\ndsn = "x"\n[http]\nbind = "127.0.0.1:0"\n[log]\nformat = "json"\n')
    yield command
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def test_a_daemon_runs_until_it_is_told_to_stop(running: Command, capfd: pytest.CaptureFixture[str]) -> None:
    """`run` starts the tree, logs its life as JSON on stdout, and ends with 0 on SIGTERM."""
    running.session.tree = lambda _config, _host: Supervisor("test", children=[child(stops_itself)])
    assert running("run") == 0
    events = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert events == ["process.starting", "tree.ready", "tree.stopping", "tree.stopped", "process.stopped"]


def test_a_tree_that_cannot_start_is_exit_1(running: Command, capfd: pytest.CaptureFixture[str]) -> None:
    """The child that does not start is named, on stderr and with its trace in the log."""
    running.session.tree = lambda _config, _host: Supervisor("test", children=[child(cannot_start)])
    assert running("run") == 1
    assert "cannot_start" in running.notes
    assert "no such column" in capfd.readouterr().out


# --- output


def test_what_is_shown_cannot_speak_to_the_terminal() -> None:
    """Control characters from outside are shown as text, markup is not obeyed."""
    stream = io.StringIO()
    output = Output(stream, stream, {})
    output.table(("name", "count"), [("\x1b[2J[bold]x[/bold]\n", 5)])
    output.pairs({"name": "\x07"})
    output.line("a\rb")
    assert "\x1b" not in stream.getvalue()
    assert "\\x1b[2J[bold]x[/bold]\\n" in stream.getvalue()
    assert "\x07" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert printable("line\nline", lines=True) == "line\nline"


def test_a_table_in_a_pipe_is_not_cut() -> None:
    """Long values stay whole where there is no terminal to fit into."""
    stream = io.StringIO()
    Output(stream, stream, {}).table(("value",), [("x" * 500,)])
    assert "x" * 500 in stream.getvalue()


def test_destruction_needs_a_yes() -> None:
    """Without a terminal nobody can answer, so the question is refused as wrong usage."""
    output = Output(io.StringIO(), io.StringIO(), {})
    output.confirm("Discard 5 tasks?", yes=True)
    with pytest.raises(Ended, match="--yes") as caught:
        output.confirm("Discard 5 tasks?", yes=False)
    assert caught.value.code == Exit.USAGE


def test_an_empty_table_says_so_to_the_person() -> None:
    """The pipe gets the column names alone, standard error that there is nothing."""
    stdout, stderr = io.StringIO(), io.StringIO()
    Output(stdout, stderr, {}).table(("name", "count"), [])
    assert (stdout.getvalue().split(), stderr.getvalue()) == (["name", "count"], "none\n")


def test_a_daemon_without_service_levels_says_so(command: Command) -> None:
    """The flag is there for all; what it shows is the daemon's."""
    assert command("status", "--slo") == 2
    assert "no service levels" in command.notes
