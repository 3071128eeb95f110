"""Daemons that break a promise on purpose, each by one patch, to show that the checker would notice.

A mutant is applied in the forked child before the tree is built. A patch of a statement names the text that it replaces
and fails when that is not there any more, so that a mutant never becomes the original unnoticed.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - one mutant lets a task run on behind its answer, which is the fault
import hashlib
import importlib
import re
import time
from collections.abc import Callable
from typing import Any

from faults import scenarios
from faults.fact import Fact
from faults.place import Place
from faults.scenarios import SCENARIOS, Scenario, play
from msgspec import Struct
from msgspec.structs import replace

from actors import effect, webhooks
from actors.settlement import Settled, Settlement
from actors.zoho.signature import Verifier
from tds_runtime import logs, migrate, queue, records, sql
from tds_runtime.delivery import Entry
from tds_runtime.queue import Completion
from tds_runtime.redaction import Redactor

FENCED = "CASE q.status WHEN 'processing' THEN q.fence = given.fence END"
REPEAT = re.compile(r"ON CONFLICT \(source, entity_type, record\) DO UPDATE SET.*?seen_at = now\(\)", re.DOTALL)


class Mutant(Struct, frozen=True, kw_only=True):
    """What it does wrong, where it must show, and as what."""

    name: str
    scenario: Scenario
    shows: frozenset[str]
    patch: Callable[[], None]


def apply(name: str) -> None:
    """Patch this process: by the name of a mutant, or by a function of another module (`faults.poison:touchy`)."""
    module, found, function = name.partition(":")
    if found:
        getattr(importlib.import_module(module), function)()
    else:
        next(mutant for mutant in MUTANTS if mutant.name == name).patch()


async def caught(place: Place) -> Fact:
    """Plays every scenario with the daemon as it is, and every mutant in its scenario."""
    began = time.monotonic()
    false = {scenario.__name__: await play(place, scenario) for scenario in SCENARIOS}
    missed = [mutant.name for mutant in MUTANTS if not await is_caught(place, mutant)]
    alarms = {name: str(found[0]) for name, found in false.items() if found}
    return Fact(
        fact="mutants",
        passed=not missed and not alarms,
        figures={
            "mutants": len(MUTANTS),
            "caught": len(MUTANTS) - len(missed),
            "missed": ", ".join(missed),
            "scenarios": len(SCENARIOS),
            "false_alarms": len(alarms),
            **{f"alarm_{name}": text for name, text in alarms.items()},
        },
        seconds=round(time.monotonic() - began, 1),
    )


async def is_caught(place: Place, mutant: Mutant) -> bool:
    """Whether the checker names what this mutant does wrong."""
    return any(one.invariant in mutant.shows for one in await play(place, mutant.scenario, mutant.name))


# --- how things are patched


def rewritten(name: str, change: Callable[[str], str]) -> Callable[[], None]:
    """A patch of one statement of the engine."""

    def patch() -> None:
        honest = sql.load
        honest.cache_clear()

        def load(wanted: str, *, package: str = "tds_runtime") -> str:
            text = honest(wanted, package=package)
            return change(text) if wanted == name else text

        assert change(honest(name)) != honest(name), f"{name} is not what this mutant was made for"
        honest.cache_clear()
        sql.load = load  # type: ignore[assignment] # the patch

    return patch


def replaced(name: str, old: str, new: str, count: int = -1) -> Callable[[], None]:
    """A patch that replaces a part of one statement."""
    return rewritten(name, lambda text: text.replace(old, new, count))


# --- the patches that are no statements


def acknowledge_first() -> None:
    honest = webhooks.Receiver._store
    running: set[Any] = set()

    async def store(self: Any, delivery: Any) -> Any:
        running.add(asyncio.create_task(honest(self, delivery)))
        return 200, [webhooks._JSON], b"{}"

    webhooks.Receiver._store = store


def acknowledge_the_unknown() -> None:
    honest = webhooks.Receiver._store

    async def store(self: Any, delivery: Any) -> Any:
        status, headers, body = await honest(self, delivery)
        return (200, headers, body) if status == 503 else (status, headers, body)

    webhooks.Receiver._store = store


def skip_repeats_unwritten() -> None:
    honest = webhooks.Receiver._store
    seen: set[bytes] = set()

    async def store(self: Any, delivery: Any) -> Any:
        if delivery.body in seen:
            return 200, [webhooks._JSON], b"{}"
        seen.add(delivery.body)
        return await honest(self, delivery)

    webhooks.Receiver._store = store


def compare_stamps_only() -> None:
    honest = Entry.of

    def of(place: int, one: Any) -> Any:
        return replace(honest(place, one), key=hashlib.sha256(str(one.modified_at).encode()).hexdigest()[:32])

    Entry.of = of  # type: ignore[method-assign] # the patch


def trust_everybody() -> None:
    Verifier.verify = lambda *_: True  # type: ignore[method-assign] # the patch


def ignore_versions() -> None:
    records.decide = lambda *_: "write"


def let_the_later_twin_win() -> None:
    honest = records._tie

    def tie(state: Any, version: Any) -> Any:
        verdict = honest(state, version)
        return "write" if verdict == "refetch" else verdict

    records._tie = tie


def ignore_lost_leases() -> None:
    queue._all_held = lambda *_: None


async def _effect_then_completion(self: Any, prepared: Any, claim: int, **_: Any) -> Settled:
    async with self._database.transaction() as connection:
        done = await effect.write(connection, self._entity, prepared.works)
    async with self._database.transaction() as connection:
        claimed = await self._complete(connection, done, claim)
    return Settled(outcomes=done.outcomes, rows=done.rows, claimed=claimed)


async def _completion_then_effect(self: Any, prepared: Any, _claim: int, **_: Any) -> Settled:
    completions = [Completion(work.task.id, work.task.fence, "applied") for work in prepared.works]
    async with self._database.transaction() as connection:
        await self._queue.complete(connection, completions)
    async with self._database.transaction() as connection:
        done = await effect.write(connection, self._entity, prepared.works)
    return Settled(outcomes=done.outcomes, rows=done.rows)


def complete_apart() -> None:
    Settlement._transact = _effect_then_completion  # type: ignore[assignment] # the patch


def complete_before() -> None:
    Settlement._transact = _completion_then_effect  # type: ignore[assignment] # the patch


def take_deletions_for_upserts() -> None:
    honest = webhooks.Receiver._delivery

    def delivery(self: Any, scope: Any, segment: str, content_type: str) -> Any:
        return replace(honest(self, scope, segment, content_type), operation="upsert")

    webhooks.Receiver._delivery = delivery


def tell_the_secret() -> None:
    honest = webhooks.Receiver.__init__

    def init(self: Any, writer: Any, names: Any, options: Any, metrics: Any, **more: Any) -> None:
        honest(self, writer, names, options, metrics, **more)
        logs.get("webhooks").info("webhooks.configured", keys=["".join(secret) for secret in options.secrets])

    webhooks.Receiver.__init__ = init
    Redactor.fields = lambda _self, fields: dict(fields)
    Redactor.text = lambda _self, text: text


def let_two_be_in_flight() -> None:
    replaced("queue/pick", "WHERE p.status = 'processing' AND", "WHERE false AND")()
    honest = migrate.apply

    async def unconstrained(database: Any, **more: Any) -> Any:
        applied = await honest(database, **more)
        async with database.unguarded() as connection:
            await connection.execute("DROP INDEX IF EXISTS tds_sync_queue_live_processing")
        return applied

    migrate.apply = unconstrained


def _mutant(name: str, scenario: Scenario, shows: str, patch: Callable[[], None]) -> Mutant:
    return Mutant(name=name, scenario=scenario, shows=frozenset(shows.split()), patch=patch)


MUTANTS: tuple[Mutant, ...] = (
    _mutant("acknowledges before the commit", scenarios.unacknowledged, "I1", acknowledge_first),
    _mutant("acknowledges what it does not know", scenarios.unacknowledged, "I1", acknowledge_the_unknown),
    _mutant("answers repeats without writing", scenarios.unacknowledged, "I1", skip_repeats_unwritten),
    _mutant(
        "does nothing when a record is known",
        scenarios.stream,
        "I1",
        rewritten(
            "intake/store", lambda text: REPEAT.sub("ON CONFLICT (source, entity_type, record) DO NOTHING", text)
        ),
    ),
    _mutant("compares stamps alone", scenarios.twins, "I1", compare_stamps_only),
    _mutant("lets the later of two equal stamps win", scenarios.twins, "I2 I3", let_the_later_twin_win),
    _mutant("does not check signatures", scenarios.stream, "I8", trust_everybody),
    _mutant("has no version guard", scenarios.stream, "I3", ignore_versions),
    _mutant("takes a deletion for an upsert", scenarios.stream, "I2 I4", take_deletions_for_upserts),
    _mutant("writes a secret into the log", scenarios.stream, "I7", tell_the_secret),
    _mutant("completes without its fence", scenarios.stolen, "I2", replaced("queue/finish", FENCED, "true")),
    _mutant("does not roll back when a lease was lost", scenarios.stolen, "I2", ignore_lost_leases),
    _mutant("completes in another transaction", scenarios.killed_at_completion, "I2", complete_apart),
    _mutant("completes before the effect", scenarios.killed_at_effect, "I2", complete_before),
    _mutant(
        "forgets what a dead node held",
        scenarios.killed_at_effect,
        "I5",
        replaced("queue/return_expired", "WHERE q.status = 'processing' AND", "WHERE false AND"),
    ),
    _mutant(
        "forgets what a dead actor held",
        scenarios.restarted_actor,
        "I5",
        replaced("queue/return_own", "WHERE status = 'processing' AND", "WHERE false AND"),
    ),
    _mutant(
        "keeps the older payload when it folds",
        scenarios.crowded,
        "I2",
        replaced("queue/fold", "WHEN 'earlier' THEN 'old' WHEN 'later' THEN 'new'", "WHEN 'later' THEN 'old'", 1),
    ),
    _mutant("has two in flight for one record", scenarios.two_nodes, "I2 I3", let_two_be_in_flight),
    _mutant(
        "drops the payload when it retries",
        scenarios.reluctant,
        "I5",
        replaced(
            "queue/retry",
            "SELECT id, fence, inbox_id, first_inbox_id",
            "SELECT id, fence, NULL::bigint, first_inbox_id",
        ),
    ),
    _mutant(
        "reads on from the last id it has seen",
        scenarios.late_commit,
        "I5",
        replaced(
            "queue/pick",
            "AND q.entity_type = $1",
            "AND q.entity_type = $1 AND q.id > (SELECT COALESCE(max(id), 0) FROM tds_sync_queue_done)",
            1,
        ),
    ),
)
