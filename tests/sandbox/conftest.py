"""A sandbox that is measured: these tests are about it; for all others it is the other side, and quicker unmeasured."""

from collections.abc import Iterator

import pytest
from fixtures.sandbox import Sandbox, running_sandbox


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    """One sandbox without limits for all tests of this directory."""
    with running_sandbox("--no-limits", measured=True) as sandbox:
        yield sandbox
