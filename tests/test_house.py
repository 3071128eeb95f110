"""The rules of the house that no linter knows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("tds_runtime", "actors") for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
STATEMENTS = sorted(path for package in ("tds_runtime", "actors") for path in (ROOT / package).rglob("sql/**/*.sql"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_states_its_behaviour(path: Path) -> None:
    """Each test function carries a docstring whose first line says what must hold."""
    silent = [f.name for f in _functions(path) if f.name.startswith("test_") and not ast.get_docstring(f)]
    assert silent == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_room_says_what_it_is_for(path: Path) -> None:
    """Each module begins with a sentence about its purpose."""
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_stay_short(path: Path) -> None:
    """No function is longer than sixty lines, its docstring included."""
    long = [f.name for f in _functions(path) if f.end_lineno is not None and f.end_lineno - f.lineno >= 60]
    assert long == []


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_statement_says_what_it_relies_on(path: Path) -> None:
    """Each SQL file begins with a comment."""
    assert path.read_text().startswith("--")


def _is_blind(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything and lets it go; one that ends by raising again only cleans up."""
    everything = handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"}
    )
    last = handler.body[-1]
    return everything and not (isinstance(last, ast.Raise) and last.exc is None)


def test_the_only_blind_except_is_where_endings_are_classified() -> None:
    """What catches everything and swallows it stands in the room of incarnations and nowhere else."""
    blind = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and _is_blind(node)
    }
    assert blind <= {"tds_runtime/incarnation.py"}


def test_the_engine_imports_without_its_neighbours() -> None:
    """`import tds_runtime` loads neither the database driver, nor the web framework, nor the log library."""
    script = (
        "import sys, tds_runtime\n"
        "print(sorted({'asyncpg', 'starlette', 'hypercorn', 'structlog', 'httpx2', 'trio'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
