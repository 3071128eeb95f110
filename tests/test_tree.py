from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from actors import schedules, tree
from actors.configuration import Config
from actors.parts import Parts
from actors.sandbox import options as sandbox
from actors.tree import Trees
from tds_runtime import Supervisor, config
from tds_runtime.cli import Host
from tds_runtime.difference import same_work
from tds_runtime.errors import ConfigError
from tds_runtime.spec import Child, Spec

ROOT = Path(__file__).parents[1]
ENTITIES = f'[entities]\ndirectory = "{ROOT / "config/entities"}"\n'
PLAIN = '[database]\ndsn = "postgresql://nowhere/x"\n' + ENTITIES


@pytest.fixture
def host() -> Iterator[Host]:
    with socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield Host(listening)


def load(path: Path, text: str = PLAIN, **environ: str) -> Config:
    file = path / "tds.toml"
    file.write_text(text)
    return config.load(file, Config, environ, defaults=schedules.defaults).value


def names(child: Child) -> list[str]:
    inner = child.children if isinstance(child, Supervisor) else ()
    return [child.name, *(name for below in inner for name in names(below))]


def test_the_sample_configuration_makes_a_tree(host: Host) -> None:
    """What the checkout brings is valid and has a sandbox, an actor an entity, and the listener last."""
    settings = config.load(ROOT / "tds.toml", Config, {}, defaults=schedules.defaults).value
    found = names(tree.tree(settings, host))
    assert found[:3] == ["tds", "storage", "work"]
    assert found[-1] == "listener"
    assert {"writer", "node", "sandbox_process", "source", "product", "vendor", "pull", "fetcher"} <= set(found)
    assert len(found) == len(set(found))


def test_everything_after_storage_depends_on_it_and_not_on_each_other(tmp_path: Path, host: Host) -> None:
    """The root restarts what stands right of storage; below, nobody takes a neighbour down."""
    root = tree.tree(load(tmp_path), host)
    work = root.children[1]
    assert isinstance(work, Supervisor)
    assert (root.strategy, work.strategy) == ("rest_for_one", "one_for_one")


def test_without_a_sandbox_none_is_started(tmp_path: Path, host: Host) -> None:
    """A configuration without [sandbox] has neither its process nor its credentials."""
    settings = load(tmp_path)
    assert "sandbox_process" not in names(tree.tree(settings, host))
    assert settings.resolved(host.address) is settings


def test_a_sandbox_fills_in_what_is_not_said(tmp_path: Path, host: Host) -> None:
    """Source and webhook secret come from the sandbox, unless they are said; its webhooks come to us."""
    text = PLAIN + '[sandbox]\nenabled = true\nport = 8099\n[zoho]\nclient_id = "mine"\n'
    resolved = load(tmp_path, text).resolved(host.address)
    assert (resolved.zoho.client_id, resolved.zoho.api_url) == ("mine", "http://127.0.0.1:8099")
    assert resolved.zoho.refresh_token == sandbox.REFRESH_TOKEN
    assert resolved.webhooks.secrets == (sandbox.WEBHOOK_SECRET,)
    assert resolved.sandbox.deliver_to == f"http://{host.address}/api/tds/zoho/webhooks"


@pytest.mark.parametrize(
    ("said", "made"),
    [("", False), ("create_tables = true\n", True), ("create_tables = false\n", False)],
)
def test_target_tables_are_made_where_that_is_wanted(tmp_path: Path, said: str, made: bool) -> None:
    """In one's own Postgres only on request; in the embedded one unless refused."""
    assert bool(Parts(load(tmp_path, PLAIN + said)).statements()) is made
    embedded = PLAIN.replace("postgresql://nowhere/x", "embedded")
    assert bool(Parts(load(tmp_path, embedded + said)).statements()) is (made or not said)


# --- the same tree again


def specs(child: Child) -> dict[str, Spec[Any]]:
    if isinstance(child, Spec):
        return {child.name: child}
    assert isinstance(child, Supervisor)
    return {name: spec for below in child.children for name, spec in specs(below).items()}


def restarted(make: Trees, host: Host, before: Config, after: Config) -> set[str]:
    """Who would be started again, added or removed if `after` were applied to a tree of `before`."""
    old, new = specs(make(before, host)), specs(make(after, host))
    return {name for name in old | new if name not in old or name not in new or not same_work(old[name], new[name])}


def test_the_same_configuration_restarts_nobody(tmp_path: Path, host: Host) -> None:
    """A reload of what is at work already finds every actor as it should be."""
    assert restarted(Trees(), host, load(tmp_path), load(tmp_path)) == set()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('[schedule.prices]\nevery = "1d"\nrun = "pull.price_list"\n', {"ticker", "listener", "healer", "alerter"}),
        ('[webhooks]\nsecrets = ["another-secret-of-ours"]\n', {"listener"}),
        ("[zoho]\ncalls_per_minute = 5\n", {"source", "fetcher", "pull", "reconciler", "healer"}),
        ('[metrics]\nevery = "5s"\n', {"metrics_reporter"}),
        ('[retention]\nruns = "9d"\n', {"healer"}),
        (
            "[sandbox]\nenabled = true\n",
            {"sandbox_process", "source", "fetcher", "pull", "reconciler", "listener", "healer"},
        ),
    ],
)
def test_a_change_restarts_those_it_is_about(tmp_path: Path, host: Host, said: str, expected: set[str]) -> None:
    """Everybody else goes on: no reconnecting, no pause of other entities."""
    assert restarted(Trees(), host, load(tmp_path), load(tmp_path, PLAIN + said)) == expected


def test_a_changed_mapping_restarts_its_entity_and_those_who_know_all(tmp_path: Path, host: Host) -> None:
    """The twelve other entities keep their actors, and so do writer and node."""
    directory = tmp_path / "entities"
    shutil.copytree(ROOT / "config/entities", directory)
    settings = load(tmp_path, PLAIN.replace(str(ROOT / "config/entities"), str(directory)))
    make = Trees()
    before = specs(make(settings, host))
    branch = directory / "branch.toml"
    branch.write_text(branch.read_text().replace('on_delete = "deactivate"', 'on_delete = "keep"'))
    after = specs(make(settings, host))
    changed = {name for name in after if not same_work(before[name], after[name])}
    assert changed == {"branch", "fetcher", "pull", "reconciler", "healer", "listener"}


def test_a_mapping_that_comes_or_goes_has_its_actor_come_or_go(tmp_path: Path, host: Host) -> None:
    """An entity more is a sync actor more, which everybody who wakes others then knows."""
    directory = tmp_path / "entities"
    shutil.copytree(ROOT / "config/entities", directory)
    settings = load(tmp_path, PLAIN.replace(str(ROOT / "config/entities"), str(directory)))
    make = Trees()
    assert "branch" in specs(make(settings, host))
    (directory / "branch.toml").unlink()
    assert "branch" not in restarted(make, host, settings, settings)
    assert "branch" not in specs(make(settings, host))


# --- schedules


def test_the_default_schedules_are_there(tmp_path: Path) -> None:
    """The schedules of the predecessor need not be configured."""
    found = load(tmp_path).schedule
    assert set(schedules.DEFAULTS) <= set(found)
    assert found["daily_full_sync"].cron == "0 2 * * *"
    assert found["stock_sync_15min"].every == 900
    assert found["balance_sync_6h"].run == "pull.balance"


def test_a_default_schedule_can_be_changed_in_part(tmp_path: Path) -> None:
    """Another timing replaces the default one, other settings leave it."""
    text = PLAIN + (
        '[schedule.stock_sync_15min]\ncron = "5 * * * *"\n[schedule.daily_full_sync]\nenabled = false\n'
        '[schedule.prices]\nevery = "1d"\nrun = "pull.price_list"\n'
    )
    found = load(tmp_path, text).schedule
    assert (found["stock_sync_15min"].cron, found["stock_sync_15min"].every) == ("5 * * * *", None)
    assert found["stock_sync_15min"].run == "pull.stock"
    assert (found["daily_full_sync"].enabled, found["daily_full_sync"].cron) == (False, "0 2 * * *")
    assert found["prices"].every == 86400


@pytest.mark.parametrize(("run", "hint"), [("pull.ful", "did you mean pull.full?"), ("xyzzy", "one of ")])
def test_a_schedule_that_starts_nothing_is_refused(tmp_path: Path, host: Host, run: str, hint: str) -> None:
    """A misspelt `run` is found when the tree is made, with advice."""
    settings = load(tmp_path, PLAIN + f'[schedule.x]\nevery = "1h"\nrun = "{run}"\n')
    with pytest.raises(ConfigError) as caught:
        tree.tree(settings, host)
    assert hint in str(caught.value)


def test_nonsense_among_the_schedules_reaches_the_decoder(tmp_path: Path) -> None:
    """A schedule section that is no table is reported like any other wrong value."""
    wrong: Any = PLAIN.replace("[database]", "schedule = {daily_full_sync = 5}\n[database]")
    with pytest.raises(ConfigError, match=r"schedule|expected"):
        load(tmp_path, wrong)
