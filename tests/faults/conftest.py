"""A place of its own for each test: a Postgres that may be killed, and daemons that start at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from faults.place import Place, place


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def ground(postgres_directory: Path, anyio_backend: str) -> AsyncIterator[Place]:
    """An own server and a warm process; all that was started there is gone when the test ends."""
    async with place(postgres_directory.parent) as opened:
        yield opened
