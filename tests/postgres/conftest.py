"""What speaks to Postgres runs on asyncio, because asyncpg does."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
