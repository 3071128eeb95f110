"""Owners of claimed tasks that are frozen while another node does their work."""

import pytest
from faults.owners import frozen_owners

pytestmark = pytest.mark.anyio


async def test_twenty_frozen_owners_change_nothing(database_dsn: str) -> None:
    """SIGSTOP for two leases, others take over, SIGCONT: all learn it, no row changes, no effect is doubled."""
    fact = await frozen_owners(database_dsn)
    print(fact)  # noqa: T201 - the figures are what the campaign is read for
    assert fact.figures["owners"] == fact.figures["fenced"] == 20
    assert fact.passed
