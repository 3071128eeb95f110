"""The reconciler's counts against a real database; the source is a fake that counts what it is told to."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from actors.messages import Compare
from actors.reconciler import Options, match, reconciler
from actors.zoho import entities, tables
from actors.zoho.entities import Entities, Source
from actors.zoho.listing import Listing
from actors.zoho.pages import Page
from tds_runtime import Supervisor, run
from tds_runtime.database import Database
from tds_runtime.errors import SourceDown

pytestmark = pytest.mark.anyio
MAPPINGS = Path(__file__).parents[2] / "config" / "entities"


class Counted:
    """A source with so many records of everything that can be counted, down for its first few calls."""

    def __init__(self, count: int, *, failures: int = 0) -> None:
        self.count_of_all = count
        self.failures = failures

    async def count(self, source: Source) -> int | None:
        if self.failures:
            self.failures -= 1
            raise SourceDown
        return self.count_of_all

    def pages(
        self, source: Source, read: Callable[[bytes], Page], *, bulk: bool = False
    ) -> AbstractAsyncContextManager[Listing[Page]]:
        raise AssertionError(f"{source.list_path} is countable here")


@pytest.fixture
def products() -> Entities:
    """Products alone, so that a comparison is one row."""
    return Entities([entities.load(MAPPINGS)["product"]])


async def compare(database: Database, source: Counted, mapped: Entities) -> dict[str, float]:
    spec = reconciler(database=database, client=source, entities=mapped, options=Options())
    async with run(Supervisor("test", children=[spec])):
        return (await spec.ref.ask(Compare(), timeout=30)).entities


async def with_products(database: Database, mapped: Entities, count: int) -> None:
    async with database.transaction() as connection:
        await tables.create_missing(connection, mapped.tables)
        await connection.execute(
            "INSERT INTO products (zoho_item_id, name) SELECT number::text, 'x' FROM generate_series(1, $1) AS number",
            count,
        )


async def test_a_comparison_is_kept_as_rows(database: Database, products: Entities) -> None:
    """Both counts and the percentage of an entity stay in the database, and an outage of the source is waited out."""
    await with_products(database, products, 98)
    assert await compare(database, Counted(100, failures=2), products) == {"product": 98.0}
    [row] = await database.fetch(
        "SELECT entity_type, source_count, local_count, match_percentage FROM tds_reconciliations"
    )
    assert tuple(row) == ("product", 100, 98, 98.0)
    assert await database.fetchval("SELECT count(*) FROM tds_alerts") == 0


async def test_a_low_match_alerts_once_and_resolves(database: Database, products: Entities) -> None:
    """Below the threshold one alert opens and is renewed; a later match above it resolves it."""
    await with_products(database, products, 90)
    await compare(database, Counted(100), products)
    await compare(database, Counted(100), products)
    [row] = await database.fetch("SELECT alert_type, cause, occurrences, resolved_at FROM tds_alerts")
    assert tuple(row) == ("match_rate", "product", 2, None)
    await compare(database, Counted(91), products)
    assert await database.fetchval("SELECT count(*) FROM tds_alerts WHERE resolved_at IS NULL") == 0


@pytest.mark.parametrize(("one", "other", "percentage"), [(0, 0, 100.0), (0, 5, 0.0), (5, 4, 80.0), (4, 5, 80.0)])
def test_match_is_symmetric(one: int, other: int, percentage: float) -> None:
    """Too many rows are as wrong as too few."""
    assert match(one, other) == percentage
