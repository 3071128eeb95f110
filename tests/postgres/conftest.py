"""What speaks to Postgres runs on asyncio, because asyncpg does; with what most tests of the actors begin with."""

import pytest
from fixtures.documents import create_tables, shipped

from actors.zoho.entities import Entities
from tds_runtime.database import Database
from tds_runtime.queue import Options, Queue


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def mapped() -> Entities:
    """The shipped mappings."""
    return shipped()


@pytest.fixture
async def queue(database: Database, mapped: Entities) -> Queue:
    """The queue of a process that is called "this", with batches of ten, and the tables of the mappings."""
    await create_tables(database, mapped)
    return Queue(database, boot_id="this", options=Options(batch=10, workers=2, max_attempts=5))
