"""Compares an entity record by record: each page of the source against one look at the tables, then the tables.

What differs is looked at again at the end, as it may have been under way. Nothing is held whole but ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import anyio
from anyio.lowlevel import checkpoint

from actors.reconciling import counting, judging, repairing
from actors.reconciling.counting import Counts
from actors.reconciling.desk import Desk, log
from actors.reconciling.judging import Record
from actors.reconciling.tally import Finding, Outcome, Tally
from actors.zoho import matching
from actors.zoho.documents import RecordInvalid
from actors.zoho.entities import Entity, Source
from actors.zoho.listing import Leaf
from actors.zoho.matching import Difference, Look
from actors.zoho.picking import Page, Picker
from tds_runtime.errors import Error, Outage
from tds_runtime.task import Change

AT_A_TIME = 500
"""Records that one statement looks at."""

JUDGED_AT_A_TIME = 25
"""Records between two checkpoints: mapping is pure computing, and others want to run."""


class Sweep:
    """The comparison of one entity."""

    def __init__(self, desk: Desk, entity: Entity, counts: Counts) -> None:
        self._desk = desk
        self._entity = entity
        self._counts = counts
        self._picker = Picker(entity)
        self.tally = Tally(entity, desk.options.findings)
        self._seen: set[str] = set()
        self._unequal: set[str] = set()
        self._doubts: list[Record] = []
        self._suspects: list[str] = []
        self._altered: list[str] = []
        self._details = desk.options.details
        self._local = 0
        self._repairs = 0
        self._alarm = ""

    async def compare(self) -> Outcome:
        """List every source, then walk through the tables, then look again at what differs."""
        began = anyio.current_time()
        await self._desk.ride(lambda: self._desk.clock.set(self._desk.database))
        asked_at = self._desk.clock.at(began)
        for source in self._entity.sources:
            await self._list(source)
        await self._walk()
        if self._doubts or self._suspects or self._altered:
            await self._desk.pause(self._desk.options.settle)
        await self._settle_doubts()
        await self._settle_altered()
        await self._settle_suspects(asked_at)
        return self.tally.outcome(
            counted=counting.total(self._counts),
            source=len(self._seen),
            local=self._local,
            repairs=self._repairs,
            alarm=self._alarm,
            note="",
            seconds=round(anyio.current_time() - began, 3),
        )

    # --- the source's side

    async def _list(self, source: Source) -> None:
        """List one source to its end; after an outage the listing goes on at the page it still wants."""
        wanted = 1

        async def go_on() -> None:
            nonlocal wanted
            async with self._desk.client.pages(
                source, lambda body: self._picker.page(source, body), params=source.order, start=wanted, bulk=True
            ) as listing:
                async for leaf in listing:
                    await self._take(source, leaf)
                    wanted = leaf.number + 1

        await self._desk.asking(go_on)

    async def _take(self, source: Source, leaf: Leaf[Page]) -> None:
        """Judge one page by one look at the tables; a record that comes twice (a moving page) counts once."""
        rows = {row.id: row for row in leaf.page.rows if row.id not in self._seen}
        self._seen.update(rows)
        looks = await self._look(rows)
        await self._desk.ride(lambda: self._desk.clock.set(self._desk.database))
        asked_at = self._desk.clock.at(leaf.asked_at)
        for number, row in enumerate(rows.values(), 1):
            self._judge(judging.listed(self._entity, source, row, asked_at), looks[row.id])
            if number % JUDGED_AT_A_TIME == 0:
                await checkpoint()
        self._desk.progress.seen = len(self._seen)
        self._desk.ctx.beat()
        if len(self._doubts) >= self._desk.options.doubts:
            await self._settle_doubts()

    def _judge(self, record: Record, look: Look) -> None:
        if judging.judge(self._entity, record, look) is None:
            self._match(record, look)
        else:
            self._unequal.add(record.id)
            self._doubts.append(record)

    def _match(self, record: Record, look: Look) -> None:
        assert record.mapped is not None, "what cannot be mapped matches nothing"
        assert look.row is not None, "what is not here matches nothing"
        self.tally.match(record.id, record.mapped.values, look.row.values)

    # --- our side

    async def _walk(self) -> None:
        """Look through the tables: for what the source does not list, and for parts of rows that no listing shows."""
        last = ""
        while looks := await self._desk.ride(lambda after=last: self._page(after)):  # type: ignore[misc] # the lambda takes nothing but its default
            for number, (record, look) in enumerate(looks.items(), 1):
                self._inspect(record, look)
                if number % JUDGED_AT_A_TIME == 0:
                    await checkpoint()
            self._local += len(looks)
            last = next(reversed(looks))
            self._desk.ctx.beat()

    async def _page(self, after: str) -> dict[str, Look]:
        async with self._desk.database.connection() as connection:
            return await matching.walk(connection, self._entity, after, AT_A_TIME)

    def _inspect(self, record: str, look: Look) -> None:
        if record not in self._seen:
            self._suspects.append(record)
        elif record not in self._unequal and judging.altered(self._entity, look):
            self._altered.append(record)

    async def _look(self, ids: Iterable[str], *, children: bool = False) -> Mapping[str, Look]:
        wanted = list(ids)

        async def look() -> Mapping[str, Look]:
            async with self._desk.database.connection() as connection:
                return await matching.look(connection, self._entity, wanted, children=children)

        return await self._desk.ride(look) if wanted else {}

    # --- the second look

    async def _settle_doubts(self) -> None:
        """Look again at what differed: what has arrived meanwhile matches, what is under way is said to be that."""
        doubts, self._doubts = self._doubts, []
        wrong: list[Record] = []
        for start in range(0, len(doubts), AT_A_TIME):
            some = doubts[start : start + AT_A_TIME]
            looks = await self._look(record.id for record in some)
            wrong += [record for record in some if self._is_wrong(record, looks[record.id])]
        await self._repair_records(wrong)

    def _is_wrong(self, record: Record, look: Look) -> bool:
        wrong = judging.judge(self._entity, record, look)
        if wrong is None:
            self._match(record, look)
            return False
        finding = judging.finding(record, wrong, look)
        self.tally.wrong(finding, record.mapped.values if record.mapped else None, look.row)
        return finding.kind != "in_flight"

    async def _settle_altered(self) -> None:
        altered, self._altered = self._altered, []
        wrong: list[tuple[str, str]] = []
        for start in range(0, len(altered), AT_A_TIME):
            looks = await self._look(altered[start : start + AT_A_TIME], children=True)
            for record, look in looks.items():
                finding = await self._altered_finding(record, look)
                if finding is not None:
                    self.tally.altered(finding)
                    wrong += [(record, finding.variant)] * (finding.kind != "in_flight")
        await self._repair_details(wrong)

    async def _altered_finding(self, record: str, look: Look) -> Finding | None:
        facets = judging.altered(self._entity, look)
        if look.row is None or not facets:
            return None  # it is right by now, or gone, which the next comparison says
        assert look.state is not None, "what is altered was written once"
        variant = self._entity.source(look.state.variant).name
        found = None if look.waiting else await self._ask(record, variant, look)
        if found == ():
            return None  # the record itself says so, whatever the hash was taken of
        return Finding(
            record=record,
            kind="in_flight" if look.waiting else "different",
            variant=variant,
            local_id=look.row.local_id,
            differences=found or tuple(Difference(facet, None, None) for facet in facets),
        )

    async def _ask(self, record: str, variant: str, look: Look) -> tuple[Difference, ...] | None:
        """How a record differs from its own detail; None when that cannot be had, or so many were asked for already."""
        source = self._entity.source(variant)
        if not source.detail_path or self._details <= 0:
            return None
        self._details -= 1
        try:
            body = await self._desk.client.detail(source, record, bulk=True)
            mapped = self._entity.map(self._picker.detail(source, body).raw, "detail", variant=variant)
        except (Outage, Error, RecordInvalid) as error:
            log.info("detail.unknown", entity=self._entity.name, record=record, reason=str(error))
            return None
        assert look.row is not None, "only rows that are here differ"
        return matching.differences(self._entity, mapped, look.row)

    async def _settle_suspects(self, asked_at: datetime) -> None:
        """Extra is what is here, not listed, and was neither seen at the source since nor is under way."""
        extra: list[str] = []
        unknown: list[str] = []
        for start in range(0, len(self._suspects), AT_A_TIME):
            looks = await self._look(self._suspects[start : start + AT_A_TIME])
            for record, look in looks.items():
                if look.row is not None and self._is_extra(record, look, asked_at):
                    extra.append(record)
                    unknown += [record] * (look.state is None)
        await self._repair_extra(extra, unknown, asked_at)

    def _is_extra(self, record: str, look: Look, asked_at: datetime) -> bool:
        state = look.state
        seen = state is not None and state.observed_at is not None and state.observed_at >= asked_at
        moving = look.waiting or seen
        finding = Finding(
            record=record,
            kind="in_flight" if moving else "extra",
            variant=state.variant if state else "",
            local_id=look.row.local_id if look.row else None,
        )
        self.tally.wrong(finding, None, look.row)
        return not moving

    # --- putting right

    async def _repair_records(self, wrong: Sequence[Record]) -> None:
        report = self._desk.report
        if report.repair:
            changes = [repairing.of_record(self._entity, record, report.id, report.correlation_id) for record in wrong]
            await self._enqueue(changes)

    async def _repair_details(self, wrong: Sequence[tuple[str, str]]) -> None:
        report = self._desk.report
        if report.repair and self._entity.can_refetch:
            changes = [
                repairing.of_detail(self._entity, record, variant, report.id, report.correlation_id)
                for record, variant in wrong
            ]
            await self._enqueue(changes)

    async def _repair_extra(self, extra: Sequence[str], unknown: Sequence[str], asked_at: datetime) -> None:
        """A deletion has to be proven record by record; of very many it is the listing that is suspect."""
        options, report = self._desk.options, self._desk.report
        allowed = max(options.extra, int(self._local * options.extra_share))
        if len(extra) > allowed:
            self._alarm = "too_many_extra"
            log.error("extra.refused", entity=self._entity.name, extra=len(extra), allowed=allowed)
        elif report.repair:
            changes = repairing.confirmations(self._entity, extra, report.id, report.correlation_id, asked_at)
            await self._enqueue(changes, unknown)

    async def _enqueue(self, changes: Sequence[Change], unknown: Sequence[str] = ()) -> None:
        await repairing.enqueue(self._desk, self._entity, changes, unknown=unknown)
        self._repairs += len(changes)
        self.tally.repaired((one.source_entity_id, one.operation) for one in changes)
