"""Adds a comparison up: what matches, what does not and how, and the figures of both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from actors.reports import Depth, Kind
from actors.zoho.documents import Values
from actors.zoho.entities import Entity
from actors.zoho.matching import Difference, Figures, Row, share
from actors.zoho.payload import canonical

LONGEST_VALUE = 500
"""Characters of a value that a finding keeps; whole values stand on both sides."""

MOST_COLUMNS = 50
"""Columns that a finding tells of one record."""


class Finding(Struct, frozen=True, kw_only=True):
    """One record that does not match."""

    record: str
    kind: Kind
    variant: str = ""
    local_id: str | None = None
    differences: tuple[Difference, ...] = ()
    repair: str = ""

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """The differences by column, cut to what people read."""
        first = self.differences[:MOST_COLUMNS]
        return {one.column: {"source": _short(one.source), "local": _short(one.local)} for one in first}


def _short(value: Any) -> Any:
    return value[:LONGEST_VALUE] if isinstance(value, str) else value


class Outcome(Struct, frozen=True, kw_only=True):
    """Both sides of one entity; see `reports.Result`."""

    entity: str
    depth: Depth
    counted: int | None
    source_count: int
    local_count: int
    match_percentage: float
    matched: int | None = None
    missing: int | None = None
    extra: int | None = None
    different: int | None = None
    in_flight: int | None = None
    source_sums: Mapping[str, Decimal] = {}
    local_sums: Mapping[str, Decimal] = {}
    source_checksum: str = ""
    local_checksum: str = ""
    repairs: int = 0
    alarm: str = ""
    note: str = ""
    seconds: float = 0.0

    @property
    def columns(self) -> dict[str, Any]:
        """As its row takes them; sums are texts there, so that no reader rounds them."""
        rest = {name: getattr(self, name) for name in self.__struct_fields__ if name != "entity"}
        sums = {name: _sums(rest[name]) for name in ("source_sums", "local_sums")}
        return rest | sums


def _sums(sums: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: canonical(value) for name, value in sums.items()}


def of_counts(
    entity: str, theirs: int, ours: int, *, sums: Mapping[str, Decimal], note: str, seconds: float
) -> Outcome:
    """Only counted: the smaller side can match the larger one at best."""
    return Outcome(
        entity=entity,
        depth="counts",
        counted=theirs,
        source_count=theirs,
        local_count=ours,
        match_percentage=share(min(theirs, ours), max(theirs, ours)),
        local_sums=sums,
        note=note,
        seconds=seconds,
    )


class Tally:
    """A comparison of records as far as it is."""

    def __init__(self, entity: Entity, most: int) -> None:
        self._entity = entity
        self._most = most
        self._source, self._local = Figures(entity), Figures(entity)
        self._kept: dict[str, Finding] = {}
        self.matched = 0
        self.found: Counter[Kind] = Counter()

    @property
    def findings(self) -> Sequence[Finding]:
        """Up to `most` of each kind, of the many that `found` counts."""
        return tuple(self._kept.values())

    @property
    def percentage(self) -> float:
        """Matched records out of all that either side has and that are not in flight."""
        wrong = self.found["missing"] + self.found["extra"] + self.found["different"]
        return share(self.matched, self.matched + wrong)

    def match(self, record: str, theirs: Values, ours: Values) -> None:
        """A record is equal on both sides."""
        self.matched += 1
        self._add(record, theirs, ours)

    def wrong(self, finding: Finding, theirs: Values | None, row: Row | None) -> None:
        """A record is not; what is in flight is on neither side of the figures."""
        self._keep(finding)
        if finding.kind != "in_flight":
            self._add(finding.record, theirs, row.values if row else None)

    def altered(self, finding: Finding) -> None:
        """A record that was counted as matching is not, in columns that the listing does not have."""
        self.matched -= 1
        self._keep(finding)

    def repaired(self, records: Iterable[tuple[str, str]]) -> None:
        """For these records a task was enqueued, as (record, operation) pairs."""
        for record, operation in records:
            if record in self._kept:
                self._kept[record] = structs.replace(self._kept[record], repair=operation)

    def _keep(self, finding: Finding) -> None:
        self.found[finding.kind] += 1
        if self.found[finding.kind] <= self._most:
            self._kept[finding.record] = finding

    def _add(self, record: str, theirs: Values | None, ours: Values | None) -> None:
        if theirs is not None:
            self._source.add(record, theirs)
        if ours is not None:
            self._local.add(record, ours, like=theirs)

    def outcome(
        self, *, counted: int | None, source: int, local: int, repairs: int, alarm: str, note: str, seconds: float
    ) -> Outcome:
        """The result, with the counts of both sides as they were swept."""
        theirs, ours = self._source.side(), self._local.side()
        return Outcome(
            entity=self._entity.name,
            depth="records",
            counted=counted,
            source_count=source,
            local_count=local,
            match_percentage=self.percentage,
            matched=self.matched,
            missing=self.found["missing"],
            extra=self.found["extra"],
            different=self.found["different"],
            in_flight=self.found["in_flight"],
            source_sums=theirs.sums,
            local_sums=ours.sums,
            source_checksum=theirs.checksum,
            local_checksum=ours.checksum,
            repairs=repairs,
            alarm=alarm,
            note=note,
            seconds=seconds,
        )
