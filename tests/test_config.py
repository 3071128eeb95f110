from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from tds_runtime import config
from tds_runtime.config import Duration, Secret
from tds_runtime.errors import ConfigError
from tds_runtime.layers import Layer, Origin, Overlay


class Database(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dsn: str
    schema: str = "public"
    data_directory: Path = Path("var/postgres")


class Queue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    batch: Annotated[int, Meta(ge=1)] = 100
    poll: Duration = Duration("1s")
    mode: Literal["fast", "careful"] = "fast"
    paused: bool = False

    def __post_init__(self) -> None:
        if self.paused and self.batch == 1:
            raise ValueError("a paused queue takes no batch of one")


class Webhooks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    secrets: list[Secret] = []

    def __post_init__(self) -> None:
        if any(secret.startswith("*") for secret in self.secrets):
            raise ValueError("a mask is no secret")


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cron: str | None = None
    args: dict[str, Any] = {}


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of these tests."""

    database: Database
    queue: Queue = Queue()
    webhooks: Webhooks = Webhooks()
    schedule: dict[str, Job] = {}
    token: Secret = Secret("")


MINIMAL = '[database]\ndsn = "embedded"\n'


def write(directory: Path, text: str, name: str = "tds.toml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def load(directory: Path, text: str = MINIMAL, **environ: str) -> config.Loaded[Config]:
    return config.load(write(directory, text), Config, environ)


def problems(directory: Path, text: str = MINIMAL, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(directory, text, **environ)
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


# --- values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1s", 1), ("15m", 900), ("1h30m", 5400), ("7d", 604800), ("1.5s", 1.5)],
)
def test_durations_are_written_with_units(text: str, seconds: float) -> None:
    """A duration is a number of seconds, however it was written."""
    assert Duration(text) == seconds


@given(st.integers(0, 10**9))
def test_a_printed_duration_reads_back(seconds: int) -> None:
    """What a duration prints is what it is."""
    assert Duration(str(Duration(seconds))) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "-1s", "1y", "1s1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Only numbers with units are durations."""
    with pytest.raises(ValueError, match="expected a duration"):
        Duration(text)


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf")])
def test_a_duration_is_a_finite_length(number: float) -> None:
    """Neither negative nor endless lengths of time exist."""
    with pytest.raises(ValueError, match="expected a length of time"):
        Duration(number)


def test_a_secret_hides_in_its_repr() -> None:
    """A secret can be used as text and is not shown by accident."""
    holder = Webhooks(secrets=[Secret("abcdefabcdef")])
    assert "abcdef" not in repr(holder)
    assert holder.secrets[0] == "abcdefabcdef"


# --- layers


def test_defaults_fill_what_a_file_leaves_out(tmp_path: Path) -> None:
    """A file says only what differs."""
    value = load(tmp_path).value
    assert (value.database.dsn, value.queue.batch, value.queue.poll) == ("embedded", 100, 1.0)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Relative paths, defaults included, start at the directory of the configuration file."""
    assert load(tmp_path).value.database.data_directory == tmp_path / "var/postgres"


def test_an_include_lies_over_the_file_that_names_it(tmp_path: Path) -> None:
    """Included files win over the including one, later ones over earlier ones."""
    write(tmp_path, "[queue]\nbatch = 2\n", "a.toml")
    write(tmp_path, "[queue]\nbatch = 3\n", "b.toml")
    loaded = load(tmp_path, 'include = ["a.toml", "b.toml"]\n[queue]\nbatch = 1\n' + MINIMAL)
    assert loaded.value.queue.batch == 3
    assert [path.name for path in loaded.files] == ["tds.toml", "a.toml", "b.toml"]
    assert str(loaded.origins["queue", "batch"]) == f"{tmp_path}/b.toml:2"


def test_an_include_pattern_may_match_nothing(tmp_path: Path) -> None:
    """`conf.d/*.toml` includes what is there, a plain name must exist."""
    assert load(tmp_path, 'include = ["conf.d/*.toml"]\n' + MINIMAL).files == (tmp_path / "tds.toml",)
    assert problems(tmp_path, 'include = ["absent.toml"]\n' + MINIMAL) == [
        'tds.toml:1:12: there is no file absent.toml\n    include = ["absent.toml"]\n               ^'
    ]


def test_a_circle_of_includes_is_refused(tmp_path: Path) -> None:
    """A file that includes itself by way of another is a problem, not an endless loop."""
    write(tmp_path, 'include = ["tds.toml"]\n', "a.toml")
    assert "includes itself" in problems(tmp_path, 'include = ["a.toml"]\n' + MINIMAL)[0]


@pytest.mark.parametrize("include", ['"a.toml"', "[1]"])
def test_an_include_is_a_list_of_names(tmp_path: Path, include: str) -> None:
    """Anything but an array of file names is refused."""
    assert "expected an array of file names" in problems(tmp_path, f"include = {include}\n")[0]


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    """TDS_SECTION__KEY overrides a key, decoded as the field's type."""
    environ = {
        "TDS_QUEUE__BATCH": "7",
        "TDS_QUEUE__POLL": "5m",
        "TDS_QUEUE__PAUSED": "true",
        "TDS_WEBHOOKS__SECRETS": '["one", "two"]',
        "TDS_DATABASE__SCHEMA": "123",
        "TDS_SCHEDULE__DAILY__CRON": "0 2 * * *",
    }
    loaded = load(tmp_path, MINIMAL + "[queue]\nbatch = 3\n", **environ)
    queue = loaded.value.queue
    assert (queue.batch, queue.poll, queue.paused) == (7, 300.0, True)
    assert loaded.value.webhooks.secrets == ["one", "two"]
    assert loaded.value.database.schema == "123"
    assert loaded.value.schedule["daily"].cron == "0 2 * * *"
    assert str(loaded.origins["queue", "batch"]) == "TDS_QUEUE__BATCH"


def test_a_variable_may_name_a_file(tmp_path: Path) -> None:
    """TDS_SECTION__KEY_FILE reads the value from a file, a list from its lines, and wins over the plain variable."""
    token = write(tmp_path, "from-a-file\n", "token")
    lines = write(tmp_path, "one\ntwo\n", "secrets")
    environ = {
        "TDS_DATABASE__DSN_FILE": str(token),
        "TDS_DATABASE__DSN": "plain",
        "TDS_WEBHOOKS__SECRETS_FILE": str(lines),
    }
    value = load(tmp_path, **environ).value
    assert value.database.dsn == "from-a-file"
    assert value.webhooks.secrets == ["one", "two"]


def test_credentials_are_files_named_after_their_key(tmp_path: Path) -> None:
    """$CREDENTIALS_DIRECTORY/section.key wins over all; files of other names are not ours."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    write(credentials, "postgresql://x", "database.dsn")
    write(credentials, "not ours", "certificate")
    loaded = load(tmp_path, CREDENTIALS_DIRECTORY=str(credentials), TDS_DATABASE__DSN="plain")
    assert loaded.value.database.dsn == "postgresql://x"
    assert str(loaded.origins["database", "dsn"]) == "credential database.dsn"


def test_a_variable_whose_file_is_missing_is_a_problem(tmp_path: Path) -> None:
    """A named file that cannot be read stops the load and names the variable."""
    assert problems(tmp_path, TDS_DATABASE__DSN_FILE="/absent")[0].startswith("TDS_DATABASE__DSN_FILE: /absent cannot")


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    """Only names with a section and a key are settings."""
    assert load(tmp_path, TDS_HOME="/x", PATH="/bin").value.database.dsn == "embedded"


def test_defaults_lie_under_everything(tmp_path: Path) -> None:
    """Computed defaults fill in what nobody said, inside tables too, and see what was said."""

    def defaults(said: Any) -> dict[str, Any]:
        return {
            "schedule": {"daily": {"cron": "0 2 * * *", "args": {"said": len(said)}}, "hourly": {"cron": "0 * * * *"}}
        }

    path = write(tmp_path, MINIMAL + '[schedule.daily]\ncron = "0 3 * * *"\n')
    schedule = config.load(path, Config, {}, defaults=defaults).value.schedule
    assert (schedule["daily"].cron, schedule["daily"].args) == ("0 3 * * *", {"said": 2})
    assert schedule["hourly"].cron == "0 * * * *"


# --- errors


def test_a_lost_dsn_is_an_error(tmp_path: Path) -> None:
    """Nothing stands in for a missing DSN: it is reported at its table."""
    assert problems(tmp_path, "[queue]\nbatch = 1\n\n[database]\n") == [
        "tds.toml:4:1: database.dsn is missing\n    [database]\n    ^"
    ]
    assert problems(tmp_path, "") == ["tds.toml:1:1: database is missing"]


def test_every_error_is_reported_at_once(tmp_path: Path) -> None:
    """All problems come in one go, each with file, line, column, source line and advice."""
    text = MINIMAL + '[queue]\nbatch = 0\npol = "1s"\nmode = "fats"\npoll = "soon"\n[quue]\n'
    assert problems(tmp_path, text) == [
        "tds.toml:4:9: expected `int` >= 1\n    batch = 0\n            ^",
        'tds.toml:5:1: there is no setting queue.pol\n    pol = "1s"\n    ^\n    did you mean poll?',
        "tds.toml:6:8: invalid enum value 'fats'\n    mode = \"fats\"\n           ^\n    did you mean fast?",
        (
            'tds.toml:7:8: expected a duration such as "250ms", "15m" or "1h30m", got "soon"\n'
            '    poll = "soon"\n           ^'
        ),
        "tds.toml:8:1: there is no setting quue\n    [quue]\n    ^\n    did you mean queue?",
    ]


def test_a_choice_far_from_all_lists_them(tmp_path: Path) -> None:
    """Where no choice is near, all are named."""
    assert problems(tmp_path, MINIMAL + '[queue]\nmode = "xyz"\n')[0].endswith("one of fast, careful")


def test_a_rule_between_fields_is_reported_at_their_table(tmp_path: Path) -> None:
    """What a Struct refuses as a whole is a problem of its table."""
    found = problems(tmp_path, MINIMAL + "[queue]\nbatch = 1\npaused = true\n")
    assert found == ["tds.toml:3:1: a paused queue takes no batch of one\n    [queue]\n    ^"]


def test_problems_inside_lists_and_tables_have_their_own_place(tmp_path: Path) -> None:
    """An item of an array and a key of a named table are pointed at themselves."""
    found = problems(tmp_path, MINIMAL + '[schedule.daily]\ncron = 5\n[schedule.hourly]\nargs = "x"\n')
    assert [text.split(" ")[0] for text in found] == ["tds.toml:4:8:", "tds.toml:6:8:"]


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    """A problem in the environment names its variable."""
    found = problems(tmp_path, TDS_QUEUE__BATCH="many", TDS_QUEUE__BACH="1")
    assert found == [
        "TDS_QUEUE__BACH: there is no setting queue.bach\n    did you mean batch?",
        "TDS_QUEUE__BATCH: expected `int`, got `str`",
    ]


def test_a_wrong_secret_is_not_quoted(tmp_path: Path) -> None:
    """An error about a secret shows neither its value nor the line it stands on."""
    found = "\n".join(problems(tmp_path, 'token = 918273645\n[webhooks]\nsecrets = [\n  5566,\n]\nx = "y"\n' + MINIMAL))
    assert "918273645" not in found
    assert "5566" not in found
    syntax = problems(tmp_path, 'client_secret = "abc\n')
    assert "abc" not in syntax[0]


def test_one_file_decodes_with_the_same_care(tmp_path: Path) -> None:
    """`read` decodes a single file, such as a mapping, with every problem placed."""
    path = write(tmp_path, 'cron = "x"\ncorn = "y"\n', "job.toml")
    with pytest.raises(ConfigError, match=r"job\.toml:2:1: there is no setting corn"):
        config.read(path, Job)
    assert config.read(write(tmp_path, 'cron = "x"\n'), Job).cron == "x"


# --- what is shown


def test_secrets_are_found_and_masked(tmp_path: Path) -> None:
    """All secrets are known to the redactor, the password in a DSN too, and none is printed."""
    text = (
        'token = "tokentoken"\n[database]\ndsn = "postgresql://u:p%40ss@h/d"\n[webhooks]\nsecrets = ["aaaaaaaaaaaa"]\n'
    )
    value = load(tmp_path, text).value
    assert config.secrets(value) == {"tokentoken", "p@ss", "aaaaaaaaaaaa"}
    shown = config.plain(value)
    assert shown["token"] == "********"
    assert shown["webhooks"]["secrets"] == ["********"]
    assert shown["database"]["dsn"] == "postgresql://u:********@h/d"
    assert shown["queue"]["poll"] == "1s"


def test_the_schema_describes_every_setting() -> None:
    """Editors get a JSON Schema with types, defaults and constraints."""
    schema = config.schema(Config)
    queue = schema["$defs"]["Queue"]
    assert queue["properties"]["batch"] == {"type": "integer", "minimum": 1, "default": 100}
    assert queue["properties"]["poll"]["default"] == "1s"
    assert schema["$defs"]["Database"]["required"] == ["dsn"]
    assert schema["$defs"]["Config"]["description"] == "The configuration of these tests."
    assert msgspec.json.encode(schema)


raw = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), raw), st.dictionaries(st.sampled_from("abc"), raw))
def test_the_upper_layer_wins_and_the_lower_shows_through(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    """Overlaying keeps every leaf of the upper layer and loses none of the lower that it does not cover."""
    overlay = Overlay()
    for data in (lower, upper):
        overlay.lay(Layer(copy.deepcopy(data), lambda _where: Origin("test"), lambda *_, **__: None))

    def merged(below: Any, above: Any) -> Any:
        if not isinstance(above, dict):
            return above
        base = dict(below) if isinstance(below, dict) else {}
        return base | {key: merged(base.get(key), value) for key, value in above.items()}

    assert overlay.data == merged(lower, upper)
