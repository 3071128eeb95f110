"""SQL texts: found, expanded, and read before they are needed."""

import ast
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from tds_runtime import sql

ROOT = Path(__file__).parents[1]


def named() -> Iterator[tuple[str, str]]:
    """Package and name of each text that is loaded by a plain name."""
    for path in (*ROOT.glob("tds_runtime/**/*.py"), *ROOT.glob("actors/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("sql"), attr="load"), args=[ast.Constant(str(name))]):
                    given = {word.arg: word.value for word in node.keywords}
                    package = given.get("package")
                    yield package.value if isinstance(package, ast.Constant) else "tds_runtime", name


def test_every_text_that_is_asked_for_is_there() -> None:
    """A text that moved would be missed by the first who needs it."""
    found = set(named())
    assert len(found) > 100
    for package, name in found:
        assert sql.load(name, package=package)


def test_all_texts_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the start no file is opened any more, whoever asks for a text and however it is asked for."""
    sql.read_all("tds_runtime", "actors")
    monkeypatch.setattr(resources, "files", lambda _package: pytest.fail("a file was opened"))
    assert "$1" in sql.load("queue/claim")
    assert sql.load("metrics/look", package="actors").startswith("--")


def test_a_clause_that_is_shared_stands_in_each_text() -> None:
    """Includes are replaced, their parameters shifted; none is left over in any statement."""
    for package in ("tds_runtime", "actors"):
        for room in resources.files(package).joinpath("sql").iterdir():
            for file in room.iterdir():
                assert "--+" not in sql.load(f"{room.name}/{file.name.removesuffix('.sql')}", package=package)
    assert sql.expand("--+ migrate/record 2").count("$3") == 1
