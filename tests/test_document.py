from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from tds_runtime import document
from tds_runtime.errors import ConfigError

NAME = Path("tds.toml")

scalars = st.one_of(st.integers(-(2**40), 2**40), st.booleans(), st.text(), st.floats(allow_nan=False))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=12
)


def leaves(value: Any, where: document.Where = ()) -> list[document.Where]:
    match value:
        case dict():
            return [found for key, inner in value.items() for found in leaves(inner, (*where, key))]
        case list():
            return [found for index, inner in enumerate(value) for found in leaves(inner, (*where, index))]
        case _:
            return [where]


@given(st.dictionaries(st.text(), values, max_size=5))
def test_every_value_of_a_document_has_a_place(data: dict[str, Any]) -> None:
    """The scanner finds exactly the values that the parser found, whatever the document."""
    text = tomli_w.dumps(data)
    parsed = document.parse(text, NAME)
    assert set(leaves(parsed.data)) <= set(parsed.values)


@pytest.mark.parametrize(
    ("text", "where", "place"),
    [
        ("a = 1", ("a",), (1, 5)),
        ("[t]\n  a = 1", ("t", "a"), (2, 7)),
        ("[t]\na.b = 'x'", ("t", "a", "b"), (2, 7)),
        ("a = [1,\n 2, # two\n 3]", ("a", 2), (3, 2)),
        ("a = {b = 1, c = {d = 2}}", ("a", "c", "d"), (1, 22)),
        ("[[t]]\na = 1\n[[t]]\na = 2", ("t", 1, "a"), (4, 5)),
        ("[[t]]\n[t.u]\na = 1", ("t", 0, "u", "a"), (3, 5)),
        ('"quoted key" = 1', ("quoted key",), (1, 16)),
        ('a = """\nb = 1\n"""\nc = 2', ("c",), (4, 5)),
        ("a = '''x''''\nc = 2", ("c",), (2, 5)),
        ('a = "]" # b = 1\nc = 2', ("c",), (2, 5)),
        ("a = 1979-05-27 07:32:00\nc = 2", ("c",), (2, 5)),
    ],
)
def test_places_are_lines_and_columns(text: str, where: document.Where, place: tuple[int, int]) -> None:
    """A value's place is the line and column it begins at, counted from one."""
    assert document.parse(text, NAME).place(where) == place


def test_an_absent_value_stands_where_its_table_does() -> None:
    """What is not in the file is reported at the nearest table that is."""
    parsed = document.parse("x = 1\n\n[database]\nschema = 'a'\n", NAME)
    assert parsed.place(("database", "dsn")) == (3, 1)
    assert parsed.place(("zoho", "client_id")) == (1, 1)


def test_a_syntax_error_points_at_its_character() -> None:
    """A file that is no TOML is one problem with file, line, column and the source line."""
    with pytest.raises(ConfigError) as caught:
        document.parse("[database]\nddl == 1\n", NAME)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column, problem.source_line) == ("tds.toml", 2, 6, "ddl == 1")
    assert re.match(r"tds.toml:2:6: .*\n    ddl == 1\n         \^", str(problem))


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """A file that cannot be read is a problem that names it."""
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        document.read(tmp_path / "absent.toml")


def test_bytes_that_are_no_text_are_a_config_error(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused by name."""
    (tmp_path / "a.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        document.read(tmp_path / "a.toml")
