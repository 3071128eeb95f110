"""A sandbox that is measured: these tests are about it; for all others it is the other side, and quicker unmeasured."""

from collections.abc import Iterator

import pytest
from fixtures.sandbox import Sandbox, running_sandbox


@pytest.fixture(scope="session")
def measured_sandbox() -> Iterator[Sandbox]:
    """One sandbox without limits for the tests of this directory."""
    with running_sandbox("--no-limits", measured=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox in its first state; for those that are marked `no_cover` it is the quicker one of all other tests."""
    unmeasured = request.node.get_closest_marker("no_cover")
    process: Sandbox = request.getfixturevalue("sandbox_process" if unmeasured else "measured_sandbox")
    process.reset()
    return process
