import tracemalloc
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sandbox.chance import Draws, mixed
from actors.sandbox.clock import Clock, parse_stamp
from actors.sandbox.kinds import Catalogue
from actors.sandbox.options import Options, Switches
from actors.sandbox.orders import SortedIndex
from actors.sandbox.request import Call, multipart_part, parse_query, split_path
from actors.sandbox.world import World

KEYS = st.integers(0, 5)
INDEXES = st.integers(0, 8)


@given(st.lists(st.tuples(INDEXES, st.one_of(st.none(), KEYS))))
def test_orders_stay_sorted(changes: list[tuple[int, int | None]]):
    """However records change and vanish, an order holds each living one once, by key and index."""
    order, truth = SortedIndex([]), {}
    for index, key in changes:
        if key is None:
            order.drop(index)
            truth.pop(index, None)
        else:
            order.put(index, key)
            truth[index] = key
    expected = [index for key, index in sorted((key, index) for index, key in truth.items())]
    assert list(order) == expected == order.part(0, 99, descending=False)
    assert order.part(0, 99, descending=True) == expected[::-1]
    assert order.since(3, inclusive=True) == [index for index in expected if truth[index] >= 3]
    assert order.since(3, inclusive=False) == [index for index in expected if truth[index] > 3]


@given(st.integers(0, 20), st.integers(1, 6), st.booleans())
def test_pages_of_an_order_tile_it(size: int, per_page: int, descending: bool):
    """The pages of an order together are the order."""
    order = SortedIndex((index % 3, index) for index in range(size))
    pages = [order.part(start, start + per_page, descending=descending) for start in range(0, size, per_page)]
    assert [index for page in pages for index in page] == order.part(0, size, descending=descending)


def test_orders_are_small():
    """A record takes less than sixty bytes in an order, where many share their key and where none do."""
    for keys in (lambda index: f"2026-01-{index % 28 + 1:02d}", lambda index: index * 1.5):
        tracemalloc.start()
        order = SortedIndex((keys(index), index) for index in range(50_000))
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(order) == 50_000
        assert size < 60 * 50_000


def test_creation_times_are_told_without_the_record():
    """What the large orders are built from is what the whole records say."""
    world = World(Options(scale=0.5), Clock(), Switches)
    for (module, column), told in world._cheap.items():
        for index in range(0, world.count(module), 13):
            key = told(index)
            whole = world.sort_key(world.facts(module, index), column)
            assert (key.casefold() if isinstance(key, str) else key) == whole, (module, index)


@given(st.integers(0, 2**40), st.integers(0, 200), st.integers(0, 2**30), st.integers(1, 1000))
def test_draws_repeat(seed: int, kind: int, index: int, limit: int):
    """The same place draws the same numbers, inside their limits."""
    one, two = Draws(seed, kind, index), Draws(seed, kind, index)
    drawn = [one.below(limit) for _ in range(5)]
    assert drawn == [two.below(limit) for _ in range(5)]
    assert all(0 <= value < limit for value in drawn)
    assert 0 <= mixed(seed, kind, index) < 2**64


@given(st.integers(946_684_800, 4_000_000_000))
def test_stamps_survive_the_round_trip(seconds: int):
    """A written time reads back as the same second."""
    assert parse_stamp(Clock("Asia/Baghdad").stamp(seconds)) == seconds
    assert parse_stamp(Clock("Europe/Berlin").stamp(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "2026-01-02T10:00:00Z", "2026-13-02T10:00:00+0300", "2026-01-02 10:00:00+0300"])
def test_bad_stamps_are_none(text: str):
    """What is no strict time is None."""
    assert parse_stamp(text) is None


def test_midnight_is_local():
    """Seconds to midnight are those of the organisation's zone, also on the day the clock changes."""
    start = parse_stamp("2026-03-29T00:30:00+0100")
    assert start is not None
    assert Clock("Europe/Berlin", source=lambda: start).until_midnight() == 22.5 * 3600
    assert Clock("Asia/Baghdad", source=lambda: start).until_midnight() == 21.5 * 3600


def test_ids_name_their_kind():
    """An id tells kind and index; other texts tell nothing."""
    catalogue = Catalogue()
    for kind in catalogue.kinds:
        assert catalogue.located(kind.record_id(123)) == (kind, 123)
        assert catalogue.index(kind, kind.record_id(7)) == 7
    assert len({kind.code for kind in catalogue.kinds}) == len(catalogue.kinds)
    for text in ("", "1", "x" * 19, "5260815999000000000", "\u0665" * 19):
        assert catalogue.located(text) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/books/v3/items", ("books", ("items",))),
        ("/inventory/v1//items/1/", ("inventory", ("items", "1"))),
        ("//api/v3/a/b", ("books", ("a", "b"))),
        ("/api/v1/", ("inventory", ())),
        ("/api/v2/items", None),
        ("/", None),
    ],
)
def test_paths(path: str, expected: object):
    """Prefixes, aliases, double and trailing slashes."""
    assert split_path(path) == expected


@given(st.dictionaries(st.text("abcü =&+%", min_size=1), st.text("xyzé &=+%")))
def test_queries_read_back(query: dict[str, str]):
    """A query string reads back as what was encoded."""
    assert parse_query(urlencode(query).encode()) == query


def test_multipart_without_what_was_asked():
    """A body that is not multipart, or lacks the part, has no such part."""
    assert multipart_part("text/plain", b"x", "image") is None
    assert multipart_part("multipart/form-data; boundary=b", b"--b\r\n\r\n--b--", "image") is None
    assert Call(method="GET", api="books", parts=("items", "12"), query={}, headers={}).endpoint.endswith("items/{id}")


def test_scale_is_lazy_and_linear():
    """A hundredfold world costs nothing to make, and its records are its own."""
    world = World(Options(scale=100), Clock(), Switches)
    assert (world.count("items"), world.count("contacts"), world.count("users")) == (131_200, 250_300, 25)
    facts = world.facts("invoices", 119_999)
    assert facts["total"] == pytest.approx(sum(line.total for line in facts["lines"]) + facts["shipping_charge"])
    assert world.facts("contacts", facts["contact"])["contact_type"] == "customer"
