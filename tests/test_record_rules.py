"""Which version of a record goes over which, as pure rules."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tds_runtime import records
from tds_runtime.records import State, Version

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def state(**more: Any) -> State:
    given = {"modified_at": at(0), "observed_at": at(10), "facets": {"list": "a"}, "current": frozenset({"list"})}
    return State(**{**given, **more})


def seen(content: str = "b", **more: Any) -> Version:
    given = {"modified_at": at(0), "seen_at": at(20), "facets": {"list": content}, "pulled": True}
    return Version(**{**given, **more})


def test_the_first_version_is_written() -> None:
    """A record that was never seen takes whatever comes first, also from a webhook without a stamp."""
    assert records.decide(None, seen(modified_at=None, pulled=False)) == "write"


def test_newer_wins_and_older_is_superseded() -> None:
    """The source's own stamp decides, whoever brings it and whenever it comes."""
    for pulled in (True, False):
        assert records.decide(state(), seen(modified_at=at(1), seen_at=at(-99), pulled=pulled)) == "write"
        assert records.decide(state(), seen(modified_at=at(-1), seen_at=at(99), pulled=pulled)) == "superseded"


def test_equal_stamps_and_content_are_unchanged() -> None:
    """The same version again changes nothing."""
    assert records.decide(state(), seen("a")) == "unchanged"
    assert records.decide(state(), seen("a", pulled=False)) == "unchanged"
    assert records.decide(state(), seen("a", modified_at=None)) == "unchanged"


def test_a_webhook_that_contradicts_is_fetched() -> None:
    """Equal stamp and other content: the time of arrival proves nothing, so the source is asked."""
    assert records.decide(state(), seen(pulled=False)) == "refetch"


def test_a_pull_that_contradicts_wins_when_it_looked_later() -> None:
    """A request that began after the stored content was seen is right; one that began before is not."""
    assert records.decide(state(), seen(seen_at=at(11))) == "write"
    assert records.decide(state(), seen(seen_at=at(10))) == "superseded"
    assert records.decide(state(), seen(seen_at=at(9))) == "superseded"
    assert records.decide(state(observed_at=None), seen(seen_at=at(9))) == "write"


def test_without_a_detail_call_arrival_decides() -> None:
    """Where the source cannot be asked for one record, the later sight wins."""
    assert records.decide(state(), seen(pulled=False, can_refetch=False, seen_at=at(11))) == "write"
    assert records.decide(state(), seen(pulled=False, can_refetch=False, seen_at=at(9))) == "superseded"


def test_a_facet_seen_for_the_first_time_contradicts_nothing() -> None:
    """A webhook that adds the lines of a version whose list row is stored is written, not fetched."""
    facets = {"list": "a", "lines": "x"}
    assert records.decide(state(), seen(facets=facets, pulled=False)) == "write"
    stale = state(facets={"list": "a", "lines": "old"}, current=frozenset({"list"}))
    assert records.decide(stale, seen(facets=facets, pulled=False)) == "write"
    assert records.changed(stale, seen(facets=facets)) == {"lines"}


def test_records_without_stamps_go_by_content() -> None:
    """Users and locations have no modified time: the later look wins when something differs."""
    stored = state(modified_at=None)
    assert records.decide(stored, seen(modified_at=None, seen_at=at(11))) == "write"
    assert records.decide(stored, seen(modified_at=None, seen_at=at(9))) == "superseded"


def test_only_a_pull_resurrects() -> None:
    """A deleted record comes back by a pull that began after the deletion; a webhook can at most cause one."""
    gone = records.tombstone(state(), at(30))
    assert records.decide(gone, seen(seen_at=at(31))) == "write"
    assert records.decide(gone, seen(seen_at=at(30))) == "superseded"
    assert records.decide(gone, seen(pulled=False, modified_at=at(5))) == "refetch"
    assert records.decide(gone, seen(pulled=False, modified_at=at(0))) == "superseded"
    assert records.decide(gone, seen(pulled=False, modified_at=at(5), can_refetch=False)) == "superseded"
    back = records.advanced(gone, seen(seen_at=at(31)))
    assert (back.tombstoned_at, back.current) == (None, {"list"})


def test_a_deletion_holds_unless_the_record_was_seen_later() -> None:
    """A deletion is written once; one that is older than the last sight of the living record is not."""
    assert records.decide_delete(None, at(0)) == "delete"
    assert records.decide_delete(state(), at(11)) == "delete"
    assert records.decide_delete(state(), at(9)) == "superseded"
    assert records.decide_delete(records.tombstone(state(), at(30)), at(40)) == "unchanged"


def test_a_tombstone_forgets_content_and_keeps_the_stamp() -> None:
    """What is written back after a deletion is written whole, and an older webhook stays older."""
    gone = records.tombstone(state(), at(30), at(-5), "vendor")
    assert (gone.modified_at, gone.observed_at, gone.facets, gone.current) == (at(0), at(30), {}, frozenset())
    assert records.tombstone(None, at(1)).modified_at is None


def test_a_pull_may_drop_what_is_held() -> None:
    """Stored is: the same stamp, every facet of it current and alike, and the record alive."""
    assert state().holds(at(0), {"list": "a"})
    assert state().holds(None, {"list": "a"})
    assert not state().holds(at(1), {"list": "a"})
    assert not state().holds(at(0), {"list": "b"})
    assert not state().holds(at(0), {"list": "a", "row": "c"})
    assert not state(current=frozenset()).holds(at(0), {"list": "a"})
    assert not records.tombstone(state(), at(9)).holds(at(0), {"list": "a"})


moments = st.none() | st.integers(0, 4).map(at)
contents = st.dictionaries(st.sampled_from(["list", "detail", "lines"]), st.sampled_from("ab"), min_size=1)
versions = st.builds(
    Version,
    modified_at=moments,
    seen_at=st.integers(0, 9).map(at),
    facets=contents,
    pulled=st.booleans(),
    can_refetch=st.booleans(),
)


@given(st.lists(versions, max_size=12))
def test_a_record_never_goes_back_in_time(sequence: list[Version]) -> None:
    """Whatever arrives in whatever order, the stored stamp and the time of the last sight never fall."""
    stored: State | None = None
    for version in sequence:
        if records.decide(stored, version) not in {"write", "unchanged"}:
            continue
        after = records.advanced(stored, version)
        if stored is not None and stored.modified_at is not None:
            assert after.modified_at is not None
            assert after.modified_at >= stored.modified_at
        assert stored is None or stored.observed_at is None or after.observed_at >= stored.observed_at  # type: ignore[operator] # never None after a write
        assert records.decide(after, version) == "unchanged"
        stored = after


@given(st.lists(versions, max_size=8), versions)
def test_a_repeated_delivery_changes_nothing(sequence: list[Version], last: Version) -> None:
    """Once a version was dealt with, dealing with it again never writes."""
    stored: State | None = None
    for version in [*sequence, last]:
        if records.decide(stored, version) in {"write", "unchanged"}:
            stored = records.advanced(stored, version)
    assert records.decide(stored, last) != "write"
