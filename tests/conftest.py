"""Registers the fixtures, one module a subject, how hypothesis behaves on slow machines, and what is not measured."""

from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "fixtures.clock",
    "fixtures.postgres",
    "fixtures.sandbox",
    "fixtures.daemon",
    "fixtures.mail",
    "fixtures.site",
]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Measuring makes Python about half as slow again, and more where it calls much. What these run as processes, under
# load, thousands of times or over whole listings, the other tests call as well.
UNMEASURED = {
    "daemon", "faults", "simulation", "test_facts.py", "test_sandbox_third_parties.py", "test_pull.py",
    "test_conservation.py", "test_crash.py", "test_order.py", "test_planned.py", "test_documents.py", "test_samples.py",
    "test_reading.py", "test_naming.py", "test_garbage.py", "test_tally.py",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take the long ones out of the measuring of coverage; a single test does the same by the marker `no_cover`."""
    for item in items:
        if UNMEASURED.intersection(item.path.relative_to(Path(__file__).parent).parts):
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Stop measuring in this process for the time of such a test."""
    measuring = Coverage.current() if item.get_closest_marker("no_cover") else None
    if measuring is not None:
        measuring.stop()
    try:
        return (yield)
    finally:
        if measuring is not None:
            measuring.start()


@pytest.fixture(autouse=True)
def unmeasured_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that such a test starts are not measured either."""
    if request.node.get_closest_marker("no_cover"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
