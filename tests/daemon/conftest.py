"""Whole processes are driven from asyncio."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
