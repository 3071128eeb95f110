"""Shows that both sides come to agree although webhooks are lost, doubled, swapped and late, and none goes backwards.

A sandbox and a daemon play it as processes. Every entity is edited, with webhooks where the source has them; stock and
balances move silently, some records are made and some deleted. Then one incremental run, one stock sweep, one balance
sweep and one repair must bring both sides together in every record and column. Each edit leaves a mark in its record,
so that the triggers of convergence.sql can tell in which order the versions became visible.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx2
import msgspec
from faults.aftermath import settled, troubles
from faults.checker import forward
from faults.evidence import Effect
from faults.fact import Fact
from faults.place import ROOT, Place, execute
from fixtures.daemon import source as credentials
from fixtures.sandbox import Sandbox, running_sandbox

from actors import reports
from actors.demo.compare import compare
from actors.demo.verdict import Match
from actors.reports import Report
from actors.webhooks import CATCH_ALL, DELETION
from actors.zoho import absent, entities
from actors.zoho.entities import Entities
from tds_runtime import migrate, runs
from tds_runtime.database import Database, Options
from tds_runtime.runs import Kind, Run

MAPPINGS = ROOT / "config" / "entities"
TRIGGERS = (Path(__file__).parent / "convergence.sql").read_text()
TRIGGER = (
    "CREATE CONSTRAINT TRIGGER passages_of_rows AFTER INSERT OR UPDATE OR DELETE ON {table}"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION passages_of_rows('{entity}', '{id}', '{mark}')"
)
PASSAGES = "SELECT id, kind, record, version, action, content FROM passages ORDER BY id"
OUTCOMES = "SELECT outcome, count(*) FROM tds_sync_queue WHERE status = 'completed' GROUP BY outcome"
LETTERS = "SELECT count(*) FROM tds_dead_letter_queue WHERE resolved_at IS NULL"
WITHIN = 600.0
WHOLE = 100.0

# Entity: the sandbox's names for it, the key that takes the mark, and the column that it ends in.
MARKS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "product": (("product",), "description", "description"),
    "customer": (("customer",), "company_name", "company_name"),
    "vendor": (("vendor",), "company_name", "company_name"),
    "invoice": (("invoice",), "reference_number", "reference_number"),
    "sales_order": (("sales_order",), "reference_number", "reference_number"),
    "bill": (("bill",), "reference_number", "reference_number"),
    "credit_note": (("credit_note",), "reference_number", "reference_number"),
    "payment": (("payment", "vendor_payment"), "reference_number", "reference_number"),
    "stock_adjustment": (("stock_adjustment",), "description", "description"),
    "sales_return": (("sales_return",), "salesreturn_number", "salesreturn_number"),
    "price_list": (("price_list",), "description", "description"),
    "user": (("user",), "name", "name"),
    "branch": (("branch",), "location_name", "name"),
}
CREATED = ("product", "customer", "vendor")
TOLD = ("product", "customer", "invoice", "bill")
"""Entities whose deletions are told by a signed event; of all others by their route alone."""
BALANCES = {"customer": "outstanding_receivable_amount", "vendor": "outstanding_payable_amount"}


class Source:
    """The sandbox's control API, in threads, since its client waits; and its truth, as the comparison asks for it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._mark = 0

    async def control(self, method: str, path: str, /, **body: Any) -> Any:
        return await anyio.to_thread.run_sync(partial(self.sandbox.control, method, path, **body))

    async def truth(self, entity: str, view: str, api: str = "books") -> AsyncIterator[bytes]:
        async with httpx2.AsyncClient(base_url=self.sandbox.api, trust_env=False, timeout=60) as http:
            answer = await http.get(f"/sandbox/truth/{entity}", params={"view": view, "api": api})
        for line in answer.raise_for_status().content.splitlines():
            yield line

    async def chosen(self, entity: str, count: int, random: Random) -> list[str]:
        """So many living records, none of them the source's first: a test elsewhere may lean on those."""
        living = await anyio.to_thread.run_sync(partial(self.sandbox.truth, entity, "ids"))
        return [one["id"] for one in random.sample(living, min(count, len(living)))]

    async def edit(self, entity: str, ids: Sequence[str], *, stamp: str, loud: bool, **set_: Any) -> None:
        """Edit records, each with a mark of its own that is greater than all before."""
        key = next(key for names, key, _ in MARKS.values() if entity in names)
        for record in ids:
            self._mark += 1
            given = {key: f"mark {self._mark}", **set_}
            await self.control("POST", "/edit", entity=entity, ids=[record], set=given, stamp=stamp, webhooks=loud)


class Daemon:
    """The daemon under trial: its database, and runs that are asked for and waited for."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database, self.dsn = database, dsn

    async def run(self, kind: Kind) -> Run:
        """Run everything of a kind to its end, and all that it causes."""
        async with self.database.transaction() as connection:
            run_id = await runs.request(connection, runs.EVERYTHING, kind, "trial", args={})
        with anyio.fail_after(WITHIN):
            while (found := await runs.read(self.database, run_id)) is None or not found.ended:  # noqa: ASYNC110 - another process works
                await anyio.sleep(0.1)
        assert found.status == "completed", (kind, found.status, found.error_message)
        await settled(self.dsn, WITHIN)
        return found

    async def repair(self) -> Report:
        """Compare all records of both sides and mend what differs."""
        async with self.database.transaction() as connection:
            report_id = await reports.request(connection, reports.EVERYTHING, "trial", repair=True, reason="trial")
        with anyio.fail_after(WITHIN):
            while (found := await reports.read(self.database, report_id)) is None or not found.ended:  # noqa: ASYNC110 - another process works
                await anyio.sleep(0.1)
        assert found.status == "completed", (found.status, found.error_message)
        await settled(self.dsn, WITHIN)
        return found


async def convergence(
    place: Place,
    *,
    scale: float = 0.1,
    rounds: int = 5,
    records: int = 12,
    seed: int = 1,
    late: float = 8.0,
    mutant: str = "",
) -> Fact:
    """Edit everything under spoilt webhooks, pull once, repair once, and hold both sides together.

    Args:
        place: where.
        scale: of the sandbox's data.
        rounds: how often each of the chosen records is edited.
        records: how many of each entity.
        seed: of choices, data and chaos.
        late: seconds that late webhooks are late; longer than a round takes, or they would not be older than others.
        mutant: the name of a patch from `faults.mutants` for the daemon.
    """
    began, mapped = time.monotonic(), entities.load(MAPPINGS)
    dsn = await place.database()
    await prepare(dsn, mapped)
    with running(seed, scale) as sandbox:
        source = Source(sandbox)
        told = credentials(sandbox) | {"secret": sandbox.announced.webhook_secret}
        configuration = place.configure(dsn, source=told, entities=MAPPINGS)
        process = await place.nursery.start(configuration, mutant=mutant)
        async with Database(Options(dsn=dsn)).opened() as database:
            daemon = Daemon(database, dsn)
            await daemon.run("full")
            await aim(source, process.address, seed, late)
            await disturb(source, Random(seed), rounds=rounds, records=records)
            posted = await source.control("POST", "/webhooks/drain", timeout=60.0)
            await settled(dsn, WITHIN)
            before = await compare(source, database, mapped)
            for kind in ("incremental", "stock", "balance"):
                await daemon.run(kind)
            pulled = await compare(source, database, mapped)
            await daemon.repair()
            after = await compare(source, database, mapped)
        figures = await judged(dsn, posted, before=before, pulled=pulled, after=after)
        figures["restarts"] = troubles(process)
        await process.stop()
    wrong = ("violations", "dead_letters", "restarts", "refused")
    fired = all(figures[name] for name in ("dropped", "duplicated", "reordered", "late", "superseded", "deleted"))
    passed = fired and not any(figures[name] for name in wrong) and figures["match_after"] == WHOLE
    return Fact(
        fact="convergence",
        passed=passed and all(one.whole for one in after.values()) and figures["match_webhooks"] < WHOLE,
        figures={"seed": seed, **figures},
        seconds=round(time.monotonic() - began, 1),
    )


async def unguarded(place: Place) -> Fact:
    """Play it with a daemon that takes any version for the newest: in the end all agrees, but the order tells."""
    fact = await convergence(place, scale=0.03, rounds=4, records=4, mutant="faults.mutants:ignore_versions")
    seen = bool(fact.figures["violations"]) and not fact.passed
    return msgspec.structs.replace(fact, fact="convergence of a daemon without its version guard", passed=seen)


@contextmanager
def running(seed: int, scale: float) -> Any:
    """A sandbox without limits."""
    with running_sandbox("--no-limits", "--seed", str(seed), "--scale", str(scale)) as sandbox:
        yield sandbox


async def prepare(dsn: str, mapped: Entities) -> None:
    """Make the tables of all entities, and the triggers that note what becomes of their rows."""
    async with Database(Options(dsn=dsn)).opened() as database:
        await migrate.apply(database, statements=absent.statements(mapped.tables))
    rows = [
        TRIGGER.format(
            table=entity.mapping.target.table, entity=entity.name, id=entity.mapping.target.id_column, mark=mark
        )
        for entity in mapped
        for _, _, mark in (MARKS[entity.name],)
    ]
    await execute(dsn, ";\n".join([TRIGGERS, *rows]))


async def aim(source: Source, address: str, seed: int, late: float) -> None:
    """Point the source's webhooks at the daemon, and spoil them: 5 % lost, 5 % twice, 10 % swapped, 5 % late."""
    told = [name for entity in TOLD for name in MARKS[entity][0]]
    doubted = [name for entity, (names, _, _) in MARKS.items() if entity not in TOLD for name in names]
    url = address + CATCH_ALL
    hooks = [
        {"url": url, "entity": "*", "events": ["created", "edited"]},
        {"url": url, "entity": told, "events": ["deleted"], "query": {"event": "record_deleted"}},
        {"url": url + DELETION, "entity": doubted, "events": ["deleted"]},
    ]
    await source.control("PUT", "/webhooks", hooks=hooks)
    chaos = {"drop": 0.05, "duplicate": 0.05, "reorder": 0.1, "late": 0.05, "late_seconds": late, "seed": seed}
    await source.control("POST", "/webhooks/chaos", **chaos)


async def disturb(source: Source, random: Random, *, rounds: int, records: int) -> None:
    """Edit the chosen records again and again; move stock and balances silently; make some and delete some."""
    names = [name for kinds, _, _ in MARKS.values() for name in kinds]
    chosen = {name: await source.chosen(name, records, random) for name in names}
    for number in range(rounds):
        stamp = "keep" if number == rounds - 2 else "next"  # another content of the same second, told by a webhook
        for name in names:
            await source.edit(name, chosen[name], stamp=stamp, loud=True)
        await silent(source, random, chosen, number)
    for name in CREATED:
        made = await source.control("POST", "/create", entity=name, count=3, webhooks=True)
        chosen[name] += [one["id"] for one in made["records"]]
    for name in names:
        gone = random.sample(chosen[name], min(3, len(chosen[name]) // 2))
        for place, record in enumerate(gone):  # the last of them silently
            await source.control("POST", "/delete", entity=name, ids=[record], webhooks=place < len(gone) - 1)


async def silent(source: Source, random: Random, chosen: dict[str, list[str]], number: int) -> None:
    """Let stock and balances of told and of untold records grow without a stamp and without a webhook."""
    untold = await source.chosen("product", 5, random)
    moves = [{"id": one, "quantity": 1 + number} for one in (*chosen["product"][:3], *untold)]
    await source.control("POST", "/stock", moves=moves, webhooks=False)
    for name, key in BALANCES.items():
        for record in (*chosen[name][:3], *await source.chosen(name, 5, random)):
            given = {key: 10_000.5 + 100 * number}
            await source.control("POST", "/edit", entity=name, ids=[record], set=given, stamp="keep", webhooks=False)


async def judged(
    dsn: str, posted: dict[str, Any], *, before: dict[str, Match], pulled: dict[str, Match], after: dict[str, Match]
) -> dict[str, int | float | str]:
    """Everything that is told of it, the violations of the order among it."""
    effects = [Effect(*row) for row in await execute(dsn, PASSAGES)]
    violations = list(forward(effects))
    [[letters]] = await execute(dsn, LETTERS)
    return {
        **{name: posted[name] for name in ("queued", "delivered", "dropped", "duplicated", "reordered", "late")},
        "refused": posted["failed"],
        "superseded": 0,
        "deleted": 0,
        **dict(await execute(dsn, OUTCOMES)),
        "effects": len(effects),
        "violations": len(violations),
        "dead_letters": letters,
        "entities": len(after),
        "records": sum(one.source for one in after.values()),
        "match_webhooks": overall(before),
        "match_pulled": overall(pulled),
        "match_after": overall(after),
        **{f"violation_{n}": str(one) for n, one in enumerate(violations[:3], 1)},
        **{f"match_{name}": one.match for name, one in after.items() if not one.whole},
    }


def overall(matches: dict[str, Match]) -> float:
    """The share of records that match, of all entities together."""
    everything = sum(max(one.source, one.local) for one in matches.values())
    return round(sum(one.match * max(one.source, one.local) for one in matches.values()) / everything, 3)
