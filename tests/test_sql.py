"""SQL texts: found, expanded, and read before they are needed."""

from importlib import resources

import pytest

from tds_runtime import sql


def test_all_texts_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the start no file is opened any more, whoever asks for a text and however it is asked for."""
    sql.read_all("tds_runtime", "actors")
    monkeypatch.setattr(resources, "files", lambda _package: pytest.fail("a file was opened"))
    assert "$1" in sql.load("queue/claim")
    assert sql.load("metrics/day", package="actors").startswith("--")


def test_a_clause_that_is_shared_stands_in_each_text() -> None:
    """Includes are replaced, their parameters shifted; none is left over in any statement."""
    for package in ("tds_runtime", "actors"):
        for room in resources.files(package).joinpath("sql").iterdir():
            for file in room.iterdir():
                assert "--+" not in sql.load(f"{room.name}/{file.name.removesuffix('.sql')}", package=package)
    assert sql.expand("--+ migrate/record 2").count("$3") == 1
