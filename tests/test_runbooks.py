"""The runbooks against the code: each alert has one, and every verb in it exists."""

from __future__ import annotations

import io
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from actors.commands.line import command_line
from actors.configuration import Config
from actors.tree import Trees
from tds_runtime import cli

ROOT = Path(__file__).parents[1]
RUNBOOKS = sorted((ROOT / "ops/runbooks").glob("*.md"))
ALERTS = "actors/sql/alert/causes.sql", "actors/sql/reconciler/store.sql"


def rules() -> dict[str, Any]:
    """The rules that come with the daemon."""
    found: dict[str, Any] = tomllib.loads((ROOT / "config/alerts.toml").read_text())["alert"]
    return found


def alert_types() -> set[str]:
    """What the daemon's statements and the default rules may open an alert of."""
    text = "\n".join((ROOT / path).read_text() for path in ALERTS)
    return set(re.findall(r"SELECT '(\w+)', (?:'\w+'|CASE)", text)) | set(rules())


def verbs(page: Path) -> list[str]:
    """Every command of ours that a page tells to type, in blocks and in sentences."""
    found = re.findall(r"(?:^\$ |`)tds-runtime ([^`#\n]+)", page.read_text(), re.MULTILINE)
    return [words.strip() for words in found]


def test_each_alert_has_its_runbook() -> None:
    """Nobody who is woken has to guess, and no page outlives its alert."""
    assert {page.stem for page in RUNBOOKS} == alert_types()
    assert len(RUNBOOKS) > 5


@pytest.mark.parametrize(("name", "rule"), rules().items(), ids=list(rules()))
def test_each_default_rule_says_what_to_do(name: str, rule: dict[str, Any]) -> None:
    """A letter has an advice in it, and the page that it links is its own."""
    assert rule["message"].endswith((".", "?"))
    assert rule["runbook"] == f"ops/runbooks/{name}.md"


def test_what_statements_find_has_a_rule() -> None:
    """What healer and reconciler open is told by a rule of its own, which opens nothing itself."""
    text = "\n".join((ROOT / path).read_text() for path in ALERTS)
    stored = {name for name, rule in rules().items() if rule.get("kind") == "stored"}
    assert stored == set(re.findall(r"SELECT '(\w+)', (?:'\w+'|CASE)", text))


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_names_verbs_that_exist(page: Path) -> None:
    """Each command can be typed as it stands."""
    session = cli.Session(Trees(), Config, output=cli.Output(io.StringIO(), io.StringIO(), {}))
    app = command_line(session)
    assert verbs(page)
    for words in verbs(page):
        app.parse_args(shlex.split(words), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_says_what_to_think_look_at_and_do(page: Path) -> None:
    """All pages have one form, so that at night one need not read but look."""
    text = page.read_text()
    assert text.startswith(f"# {page.stem}: ")
    for part in ("**Means.**", "**Look.**", "**Do.**", "**Over** "):
        assert part in text
