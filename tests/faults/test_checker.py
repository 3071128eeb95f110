"""The checker itself, on synthetic runs: silent about honest ones, and exact about each thing that is wrong."""

import base64
from urllib.parse import quote

import pytest
from faults.checker import Expected, Violation, check, forward, silent
from faults.evidence import Effect, Evidence, Row, Sample, Stored, Task
from faults.history import Delivery, Line
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

RECORD = Delivery(record=1, version=1).record_id


def lines(delivery: Delivery, serial: int, event: str, status: int = 0) -> list[Line]:
    """What a sender notes about one delivery."""
    common = {
        "serial": serial,
        "record": delivery.record_id,
        "version": delivery.version,
        "digest": f"{delivery.record}/{delivery.version}",
        "content": delivery.content,
        "operation": delivery.operation,
        "forged": delivery.forged,
    }
    return [Line(event="invoke", **common), Line(event=event, status=status, **common)]


class Run:
    """An honest daemon's run, put together step by step."""

    def __init__(self) -> None:
        self.history: list[Line] = []
        self.inbox: list[Stored] = []
        self.effects: list[Effect] = []
        self.tasks: list[Task] = []
        self.rows: dict[str, Row] = {}

    def deliver(self, delivery: Delivery, event: str, *, stored: bool) -> None:
        """A delivery, acknowledged or in doubt; in the inbox or not."""
        self.history += lines(delivery, len(self.history), event)
        if stored:
            number, digest = len(self.inbox) + 1, f"{delivery.record}/{delivery.version}"
            self.inbox.append(Stored(number, delivery.record_id, delivery.version, delivery.operation, digest))

    def apply(self, delivery: Delivery, coalesced: int) -> None:
        """A task is done, and its effect is seen."""
        record, version, action = delivery.record_id, delivery.version, "write"
        for kind in ("row", "state"):
            self.effects.append(Effect(len(self.effects) + 1, kind, record, version, action, delivery.content))
        task = Task(len(self.tasks) + 1, record, "completed", "upsert", "applied", coalesced, 1, "")
        self.tasks.append(task)
        self.rows[record] = Row(record, version, True, delivery.content)

    def evidence(self) -> Evidence:
        """All of it."""
        return Evidence(
            history=self.history,
            inbox=self.inbox,
            effects=self.effects,
            tasks=self.tasks,
            rows=list(self.rows.values()),
        )


@st.composite
def honest(draw: st.DrawFn) -> Evidence:
    """Records whose deliveries are acknowledged or in doubt, stored or not, folded or not."""
    run = Run()
    for record in range(1, draw(st.integers(1, 4)) + 1):
        folded = -1
        for version in range(1, draw(st.integers(1, 6)) + 1):
            delivery = Delivery(record=record, version=version)
            acknowledged = version == 1 or draw(st.booleans())
            stored = acknowledged or draw(st.booleans())
            run.deliver(delivery, "ok" if acknowledged else "info", stored=stored)
            folded += stored
            if stored:
                newest = delivery
                if draw(st.booleans()):
                    run.apply(newest, folded)
                    folded = -1
        if folded >= 0:
            run.apply(newest, folded)
    return run.evidence()


def invariants(evidence: Evidence, expected: Expected | None = None) -> set[str]:
    """Which are violated."""
    return {violation.invariant for violation in check(evidence, expected)}


@given(honest())
def test_an_honest_run_is_not_accused(run: Evidence) -> None:
    """Doubt, folding and repetition are no violations."""
    assert check(run) == []


@given(honest(), st.data())
def test_a_lost_delivery_is_named(run: Evidence, data: st.DataObject) -> None:
    """I1 names the record and the version that were acknowledged and are not stored, with what the sender saw."""
    acknowledged = [line for line in run.history if line.event == "ok"]
    lost = data.draw(st.sampled_from(acknowledged))
    left = [one for one in run.inbox if (one.record, one.version) != (lost.record, lost.version)]
    found = [violation for violation in check(replace(run, inbox=left)) if violation.invariant == "I1"]
    assert [(violation.record, violation.version) for violation in found] == [(lost.record, lost.version)]
    assert any(f"ok v{lost.version}" in told for told in found[0].told)


@given(honest(), st.data())
def test_a_repeated_effect_is_named(run: Evidence, data: st.DataObject) -> None:
    """I2 and I3: an effect that is seen twice."""
    again = data.draw(st.sampled_from(run.effects))
    repeated = [*run.effects, Effect(len(run.effects) + 1, *_rest(again))]
    found = check(replace(run, effects=repeated))
    assert {"I2", "I3"} <= {violation.invariant for violation in found}
    assert {violation.record for violation in found} == {again.record}


def _rest(effect: Effect) -> tuple[str, str, int, str, str]:
    return effect.kind, effect.record, effect.version, effect.action, effect.content


@given(honest(), st.data())
def test_a_reversal_is_named(run: Evidence, data: st.DataObject) -> None:
    """I3: two effects of one record in the wrong order of their commits."""
    one, other = data.draw(st.tuples(st.sampled_from(run.effects), st.sampled_from(run.effects)))
    if (one.kind, one.record) != (other.kind, other.record) or one.id == other.id:
        return
    swapped = [
        Effect(other.id if each is one else one.id if each is other else each.id, *_rest(each)) for each in run.effects
    ]
    assert "I3" in invariants(replace(run, effects=swapped))


@given(honest(), st.integers(7, 99))
def test_an_effect_without_a_cause_is_named(run: Evidence, version: int) -> None:
    """I4: nobody asked for that version."""
    unasked = Effect(len(run.effects) + 1, "state", RECORD, version, "write", "")
    assert invariants(replace(run, effects=[*run.effects, unasked])) == {"I4"}


@given(honest())
def test_content_of_another_version_is_named(run: Evidence) -> None:
    """I4: the row's content belongs to its version."""
    first, *others = run.effects
    mixed = Effect(first.id, first.kind, first.record, first.version, first.action, "Item 1 version 77")
    assert invariants(replace(run, effects=[mixed, *others])) == {"I4"}


@given(honest())
def test_an_older_row_is_named(run: Evidence) -> None:
    """I2: the row that stands in the end is not the newest one."""
    first, *others = run.rows
    older = Row(first.record, first.version - 1, True, "")
    assert invariants(replace(run, rows=[older, *others])) == {"I2"}
    assert invariants(replace(run, rows=others)) == {"I2"}


@pytest.mark.parametrize("status", ["pending", "processing", "failed", "dead_letter"])
def test_what_waits_is_named(status: str) -> None:
    """I5: nothing waits in the end, and nothing is buried that nobody planted."""
    run = Run()
    run.deliver(Delivery(record=1, version=1), "ok", stored=True)
    run.tasks.append(Task(1, RECORD, status, "upsert", "", 0, 1, "code"))
    assert "I5" in invariants(run.evidence())
    assert ("I5" in invariants(run.evidence(), Expected(buried={RECORD: "code"}))) is True


def test_planted_dead_letters_are_expected() -> None:
    """I5: precision and recall: exactly the planted ones, each with its reason."""
    run = Run()
    run.deliver(Delivery(record=1, version=1), "ok", stored=True)
    run.tasks.append(Task(1, RECORD, "dead_letter", "upsert", "", 0, 1, "code"))
    buried = replace(run.evidence(), letters=[(RECORD, "code")])
    assert invariants(buried, Expected(buried={RECORD: "code"})) == set()
    assert invariants(buried, Expected(buried={RECORD: "another"})) == {"I5"}
    assert invariants(buried, Expected(buried={RECORD: "code", "8": "code"})) == {"I5"}
    assert "I5" in invariants(buried)


@given(honest())
def test_a_delivery_without_an_outcome_is_named(run: Evidence) -> None:
    """I5: the tasks account for each row of the inbox."""
    assert "I5" in invariants(replace(run, inbox=[*run.inbox, replace_id(run.inbox[0], 999)]))


def replace_id(stored: Stored, number: int) -> Stored:
    """The same delivery once more."""
    return replace(stored, id=number)


def test_unbounded_use_is_named() -> None:
    """I6: memory, descriptors, connections."""
    fine = Sample(60 << 20, 30, 12)
    assert invariants(Evidence(samples=[fine])) == set()
    for sample in (Sample(1 << 30, 30, 12), Sample(1, 5000, 12), Sample(1, 1, 90)):
        assert invariants(Evidence(samples=[fine, sample])) == {"I6"}


@given(st.binary(max_size=9), st.integers(0, 2), st.sampled_from(["plain", "hex", "url", "base64"]))
def test_a_secret_is_found_however_it_is_written(around: bytes, shift: int, spelling: str) -> None:
    """I7: plain, hexadecimal, percent-encoded, or inside base64 of a longer text."""
    secret = "a Secret/of+the Tests"
    written = {
        "plain": secret.encode(),
        "hex": secret.encode().hex().encode(),
        "url": quote(secret, safe="").encode(),
        "base64": base64.b64encode(b"x" * shift + secret.encode() + around),
    }[spelling]
    from_elsewhere = Evidence(sinks={"a log": around + written + around})
    assert [v.invariant for v in _silent(from_elsewhere, secret)] == ["I7"]
    assert list(_silent(Evidence(sinks={"a log": b"nothing"}), secret)) == []


def _silent(evidence: Evidence, secret: str) -> list[Violation]:
    return list(silent(evidence.sinks, {"secret": secret}))


@given(honest())
def test_a_forgery_that_was_taken_is_named(run: Evidence) -> None:
    """I8: acknowledged, stored or applied; a refused one is fine."""
    forged = Delivery(record=1, version=50_001, forged=True)
    refused = replace(run, history=[*run.history, *lines(forged, 10_000, "fail", 401)])
    assert invariants(refused) == set()
    assert invariants(replace(run, history=[*run.history, *lines(forged, 10_000, "ok", 200)])) == {"I8"}
    stored = Stored(900, RECORD, 50_001, "upsert", "1/50001")
    assert "I8" in invariants(replace(refused, inbox=[*run.inbox, stored]))
    applied = Effect(900, "state", RECORD, 50_001, "write", "")
    assert "I8" in invariants(replace(refused, effects=[*run.effects, applied]))


def test_a_deletion_ends_a_record() -> None:
    """I2: after an acknowledged deletion the row is inactive or gone; one that stands is named."""
    run = Run()
    first, gone = Delivery(record=1, version=1), Delivery(record=1, version=2, operation="delete")
    run.deliver(first, "ok", stored=True)
    run.apply(first, 0)
    run.deliver(gone, "ok", stored=True)
    run.effects += [Effect(3, "row", RECORD, 2, "delete", ""), Effect(4, "state", RECORD, 2, "delete", "")]
    run.tasks.append(Task(2, RECORD, "completed", "delete", "deleted", 0, 1, ""))
    assert "I2" in invariants(run.evidence())
    run.rows[RECORD] = Row(RECORD, 1, False, "")
    assert invariants(run.evidence()) == set()


def passed(*steps: tuple[int, str, str], kind: str = "row") -> list[Effect]:
    """What one record went through: version, action and content of each step."""
    return [Effect(number, kind, "product/1", *step) for number, step in enumerate(steps, 1)]


def test_a_record_that_goes_forward_is_no_violation() -> None:
    """New versions, new content of the same version, the same once more, and its end."""
    steps = (1, "write", "a"), (1, "write", "b"), (1, "write", "b"), (4, "write", "c"), (4, "delete", "d")
    assert list(forward(passed(*steps))) == []
    assert list(forward(passed((1, "write", "{}"), (2, "write", "x"), (3, "write", "{}"), kind="state"))) == []


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([(2, "write", "b"), (1, "write", "a")], "the row had version 2 before"),
        ([(1, "write", "a"), (1, "write", "b"), (1, "write", "a")], "the row holds again what it had held before"),
        ([(1, "write", "a"), (1, "delete", "b"), (1, "write", "c")], "the row was deleted and came back"),
    ],
)
def test_a_record_that_goes_backwards_is_named(steps: list[tuple[int, str, str]], what: str) -> None:
    """An older version, an older content of one version, a life after death: each is I3, with the history."""
    [found] = forward(passed(*steps))
    assert (found.invariant, found.record, found.what, len(found.done)) == ("I3", "product/1", what, len(steps))


def test_records_and_their_states_are_looked_at_apart() -> None:
    """What one record holds says nothing about another, nor a row's mark about its state's stamp."""
    other = [Effect(9, "row", "product/2", 1, "write", "a"), Effect(10, "state", "product/1", 0, "write", "a")]
    assert list(forward([*passed((2, "write", "b")), *other])) == []
