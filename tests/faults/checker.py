"""Reads the histories of a run and names what the daemon's promises do not allow: I1 to I8.

Pure functions over what `faults.evidence` gathered. Each violation names record and version and carries both histories
of the record: what its senders saw, and what its tables went through.

I1 acknowledged is stored. I2 each version at most one effect, and the last row the newest that was acknowledged, or one
in doubt. I3 versions go up in the order of the commits. I4 no effect without a cause. I5 in the end nothing waits, the
dead letters are the planted ones, and every stored delivery has one outcome. I6 what is used is bounded. I7 no secret
in any sink. I8 nothing from a bad signature.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from urllib.parse import quote

from faults.evidence import SECRETS, Effect, Evidence, Sample, Stored, Task
from faults.history import Line
from msgspec import Struct

RESIDENT = 400 << 20
DESCRIPTORS = 200
CONNECTIONS = 24
SHOWN = 12  # lines of each history that a violation shows


class Expected(Struct, frozen=True, kw_only=True):
    """What the scenario planted.

    Attributes:
        buried: code of the dead letter by record.
        awaited: records whose order only the source can tell; a fetch of them may wait.
        pulled: records that were enqueued beside the webhooks, and so are not in the inbox.
    """

    buried: Mapping[str, str] = {}
    awaited: frozenset[str] = frozenset()
    pulled: frozenset[str] = frozenset()


class Violation(Struct, frozen=True):
    """What must not be, of which record and version ("" and 0 where it is about none), and both its histories."""

    invariant: str
    record: str
    version: int
    what: str
    told: tuple[str, ...] = ()
    done: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.invariant} {self.record} version {self.version}: {self.what}"]
        return "\n".join(
            [*lines, *(f"    sender {line}" for line in self.told), *(f"    effect {d}" for d in self.done)]
        )


class Case:
    """All that is known of one record."""

    def __init__(self, record: str) -> None:
        self.record = record
        self.lines: list[Line] = []
        self.inbox: list[Stored] = []
        self.effects: list[Effect] = []
        self.tasks: list[Task] = []

    @property
    def genuine(self) -> list[Line]:
        """Lines of deliveries that were signed."""
        return [line for line in self.lines if not line.forged]

    @property
    def acknowledged(self) -> set[tuple[int, str, str]]:
        """Version, digest and operation of what a 2xx was seen for."""
        return {_key(line) for line in self.genuine if line.event == "ok"}

    @property
    def possible(self) -> set[tuple[int, str, str]]:
        """The same of all that may have been stored: begun, and not refused each time."""
        refused = Counter(_key(line) for line in self.genuine if line.event == "fail")
        begun = Counter(_key(line) for line in self.genuine if line.event == "invoke")
        return {key for key, count in begun.items() if count > refused[key]}

    def violation(self, invariant: str, version: int, what: str) -> Violation:
        """A violation with both histories of the record, the lines about this version first."""
        lines = sorted(self.lines, key=lambda line: line.version != version)[:SHOWN]
        effects = sorted(self.effects, key=lambda effect: effect.version != version)[:SHOWN]
        told = tuple(f"{line.at:.3f} #{line.serial} {line.event} v{line.version} {line.operation}" for line in lines)
        done = tuple(f"#{one.id} {one.kind} v{one.version} {one.action} {one.content[:60]}" for one in effects)
        return Violation(invariant, self.record, version, what, told, done)


def check(evidence: Evidence, expected: Expected | None = None) -> list[Violation]:
    """All violations of a run that has come to its end."""
    wanted = expected or Expected()
    cases = _cases(evidence)
    rows = {row.record: row for row in evidence.rows}
    found: list[Violation] = []
    for record, case in sorted(cases.items()):
        if record not in wanted.pulled:
            found += stored(case)
        if record not in wanted.buried:
            row = rows.get(record)
            found += settled_once(case)
            found += newest(case, None if row is None else (row.version, row.active), wanted)
        found += ordered(case)
        found += caused(case)
        found += finished(case, wanted)
        found += signed(case)
    found += letters(evidence.letters, wanted)
    found += bounded(evidence.samples)
    found += silent(evidence.sinks)
    return found


def _cases(evidence: Evidence) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name, things in (
        ("lines", evidence.history),
        ("inbox", evidence.inbox),
        ("effects", evidence.effects),
        ("tasks", evidence.tasks),
    ):
        for thing in things:
            cases.setdefault(thing.record, Case(thing.record))
            getattr(cases[thing.record], name).append(thing)
    return cases


def _key(thing: Line | Stored) -> tuple[int, str, str]:
    return thing.version, thing.digest, thing.operation


# --- one record


def stored(case: Case) -> Iterator[Violation]:
    """I1: what was acknowledged is in the inbox, byte by byte."""
    inbox = {_key(one) for one in case.inbox}
    for version, _digest, operation in sorted(case.acknowledged - inbox):
        yield case.violation("I1", version, f"this {operation} was acknowledged and is not in the inbox")


def settled_once(case: Case) -> Iterator[Violation]:
    """I2: a version has one effect, and as many effects were seen as tasks say that they applied something."""
    for kind in ("row", "state"):
        seen = Counter((one.version, one.action) for one in case.effects if one.kind == kind)
        for (version, action), count in sorted(seen.items()):
            if count > 1:
                yield case.violation("I2", version, f"{count} effects on the {kind} ({action})")
    written = sum(one.kind == "row" and one.action == "write" for one in case.effects)
    applied = sum(task.outcome == "applied" for task in case.tasks)
    if written != applied:
        yield case.violation("I2", 0, f"{written} effects, but {applied} tasks say that they applied one")


def newest(case: Case, row: tuple[int, bool] | None, expected: Expected) -> Iterator[Violation]:
    """I2: the row that stands is the newest acknowledged version, or a newer one in doubt, or the newest stored."""
    acknowledged = max(((version, operation) for version, _, operation in case.acknowledged), default=(0, ""))
    possible = {(version, operation) for version, _, operation in case.possible}
    if case.record in expected.pulled:
        acknowledged = max(possible, default=(0, ""))
    kept = max(((one.version, one.operation) for one in case.inbox), default=acknowledged)
    wanted = max(acknowledged, kept) if kept in possible else acknowledged
    if wanted == (0, ""):
        return
    version, operation = wanted
    if operation == "delete":
        if row is not None and row[1]:
            yield case.violation("I2", version, f"deleted, but the row stands in version {row[0]}")
    elif row is None:
        yield case.violation("I2", version, "there is no row")
    elif row != (version, True):
        yield case.violation("I2", version, f"the row stands in version {row[0]} ({'' if row[1] else 'in'}active)")


def ordered(case: Case) -> Iterator[Violation]:
    """I3: versions go up in the order of the commits."""
    for kind in ("row", "state"):
        before = 0
        for one in sorted((one for one in case.effects if one.kind == kind), key=lambda one: one.id):
            if one.version <= before:
                yield case.violation("I3", one.version, f"the {kind} had version {before} before")
            before = max(before, one.version)


def forward(effects: Iterable[Effect]) -> Iterator[Violation]:
    """I3 where one version may have several effects: it never goes down, and what was left never comes back.

    `content` is a fingerprint of all that a row holds, so that an older snapshot shows even where its version does not.
    """
    histories: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for one in sorted(effects, key=lambda one: one.id):
        histories[one.kind, one.record].append(one)
    for (kind, record), history in sorted(histories.items()):
        yield from _forward(kind, record, history)


def _forward(kind: str, record: str, history: Sequence[Effect]) -> Iterator[Violation]:
    done = tuple(f"#{one.id} v{one.version} {one.action} {one.content[:60]}" for one in history)
    left: set[str] = set()
    for before, one in pairwise(history):
        what = ""
        if one.content != before.content:
            left.add(before.content)
        if one.version < before.version:
            what = f"the {kind} had version {before.version} before"
        elif before.action == "delete" and one.action != "delete":
            what = f"the {kind} was deleted and came back"
        elif kind == "row" and one.content in left:
            what = f"the {kind} holds again what it had held before"
        if what:
            yield Violation("I3", record, one.version, what, (), done)


def caused(case: Case) -> Iterator[Violation]:
    """I4: each effect is that of a genuine delivery that was begun and not refused: version, operation and content."""
    deletions = {line.version for line in case.genuine if line.operation == "delete"}
    written = {(line.version, line.content) for line in case.genuine if line.operation == "upsert"}
    for one in case.effects:
        if one.action == "delete":
            known = one.version in deletions
        elif one.kind == "row":
            known = (one.version, one.content) in written
        else:
            known = any(version == one.version for version, _ in written)
        if not known:
            yield case.violation("I4", one.version, f"nobody asked for this {one.action} of the {one.kind}")


def finished(case: Case, expected: Expected) -> Iterator[Violation]:
    """I5: no task waits, and each stored delivery is one task or was folded into one."""
    for task in case.tasks:
        awaited = case.record in expected.awaited and task.operation == "fetch"
        if task.status in {"pending", "processing", "failed"} and not awaited:
            yield case.violation("I5", 0, f"task {task.id} is still {task.status} ({task.operation}, {task.code})")
        elif task.status == "dead_letter" and case.record not in expected.buried:
            yield case.violation("I5", 0, f"task {task.id} is a dead letter ({task.code}) that nobody planted")
    counted = sum(1 + task.coalesced for task in case.tasks)
    if counted != len(case.inbox) and case.record not in expected.pulled:
        yield case.violation("I5", 0, f"{len(case.inbox)} deliveries are stored, the tasks account for {counted}")


def signed(case: Case) -> Iterator[Violation]:
    """I8: a forgery is refused, and neither stored nor applied."""
    forged = {line.version: line for line in case.lines if line.forged}
    for line in forged.values():
        answers = {one.event for one in case.lines if one.serial == line.serial}
        if "ok" in answers:
            yield case.violation("I8", line.version, "a forgery was acknowledged")
    genuine = {line.version for line in case.genuine}
    for thing in (*case.inbox, *case.effects):
        if thing.version in forged and thing.version not in genuine:
            yield case.violation("I8", thing.version, f"a forgery left a row: {type(thing).__name__} {thing.id}")


# --- the whole run


def letters(found: Iterable[tuple[str, str]], expected: Expected) -> Iterator[Violation]:
    """I5: the dead letters are the planted ones, each with its reason."""
    seen = defaultdict(list)
    for record, code in found:
        seen[record].append(code)
    for record, codes in sorted(seen.items()):
        wanted = expected.buried.get(record)
        if codes != [wanted]:
            yield Violation("I5", record, 0, f"dead letters {codes}, planted was {wanted}")
    for record, code in sorted(expected.buried.items()):
        if record not in seen:
            yield Violation("I5", record, 0, f"{code} was planted and is no dead letter")


def bounded(samples: Sequence[Sample]) -> Iterator[Violation]:
    """I6: memory, descriptors and connections of each sample are within their bounds."""
    for name, bound in (("resident", RESIDENT), ("descriptors", DESCRIPTORS), ("connections", CONNECTIONS)):
        most = max((getattr(sample, name) for sample in samples), default=0)
        if most > bound:
            yield Violation("I6", "", 0, f"{name}: {most} of at most {bound}")


def silent(sinks: Mapping[str, bytes], secrets: Mapping[str, str] = SECRETS) -> Iterator[Violation]:
    """I7: no secret stands in any sink, plain or encoded."""
    for sink, text in sinks.items():
        for name, secret in secrets.items():
            if any(spelling in text for spelling in spellings(secret)):
                yield Violation("I7", "", 0, f"the {name} stands in {sink}")


def spellings(secret: str) -> set[bytes]:
    """How a secret may look; of base64 the part that does not depend on what stands around it."""
    raw = secret.encode()
    shifted = {base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3)}
    return {raw, raw.hex().encode(), quote(secret, safe="").encode(), *shifted}
