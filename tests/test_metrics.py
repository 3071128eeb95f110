"""The registry and its page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from actors.commands.metrics import page
from actors.entity_sync import Synced
from actors.parts import attempted
from tds_runtime.metrics import MOST_ENTITIES, OTHERS, Metrics, Sample

PAGE = Path(__file__).parents[1] / "ops" / "metrics.md"


def test_two_sets_of_metrics_share_nothing() -> None:
    """Each has a registry of its own: a second daemon in one process counts for itself."""
    first, second = Metrics(), Metrics()
    first.webhooks.labels("product", "stored").inc()
    wanted = Sample(name="tds_webhooks_total", labels={"entity": "product", "outcome": "stored"}, value=1.0)
    assert wanted in first.samples()
    assert wanted not in second.samples()


def test_the_exposition_can_be_scraped() -> None:
    """Prometheus' own parser reads the page."""
    metrics = Metrics()
    metrics.queue_tasks.labels("product", "pending").set(3)
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    [sample] = families["tds_queue_tasks"].samples
    assert (sample.labels, sample.value) == ({"entity": "product", "status": "pending"}, 3.0)


def test_requests_are_counted_under_their_template() -> None:
    """A path that a stranger chose makes no series of its own."""
    metrics = Metrics()
    metrics.observe_request({"path": "/x/1", "route": Route("/x/{id}", lambda _: None)}, 200, 0.01)
    metrics.observe_request({"path": "/../../etc/passwd"}, 404, 0.01)
    labels = [sample.labels for sample in metrics.samples() if sample.name == "tds_http_request_seconds_count"]
    assert labels == [{"route": "/x/{id}", "status": "200"}, {"route": "", "status": "404"}]


def test_samples_leave_out_buckets() -> None:
    """Stored samples are values, not distributions."""
    metrics = Metrics()
    metrics.observe_request({}, 200, 0.01)
    assert not [sample for sample in metrics.samples() if sample.name.endswith(("_bucket", "_created"))]


def test_the_catalogue_names_every_instrument() -> None:
    """Name, kind, help and labels of all of them, in order."""
    catalogue = Metrics().catalogue()
    names = [description.name for description in catalogue]
    assert names == sorted(names)
    assert {family.name for family in Metrics().registry.collect()} <= {name.removesuffix("_total") for name in names}
    assert all(description.help and description.name.startswith("tds_") for description in catalogue)


def test_the_page_of_the_catalogue_is_current() -> None:
    """`ops/metrics.md` is what `tds-runtime metrics` prints."""
    assert PAGE.read_text() == page(Metrics().catalogue())


def test_names_and_labels_follow_the_rules() -> None:
    """Prometheus' own: characters, `_total` for counters and for nothing else, base units, no reserved label."""
    for one in Metrics().catalogue():
        assert re.fullmatch(r"tds_[a-z][a-z0-9_]*[a-z0-9]", one.name), one.name
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        assert not one.name.endswith(("_count", "_sum", "_bucket", "_info", "_milliseconds", "_percent", "_kb", "_mb"))
        assert one.kind != "histogram" or one.unit == "seconds"
        assert not {"le", "quantile", "job", "instance"} & set(one.labels)
        assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in one.labels)
        assert one.kind not in one.name
        assert one.help[0].isupper()
        assert not one.help.endswith(".")


def odd(metrics: Metrics, records: int = 10_000) -> None:
    """What strangers and odd records can do to the labels."""
    for number in range(records):
        entity = f"made up {number}" if number % 2 else "product"
        metrics.webhooks.labels(metrics.entity(entity), "stored").inc()
        attempted(metrics, Synced(entity=entity, tasks=1, outcomes={"applied": 1}, rows=1, altered=0, seconds=0.1))
        metrics.observe_request({"path": f"/{number}"}, 404, 0.01)
    for name in ("a\nb", "\ud800", "\u0000", "x" * 10_000, 'quo"te', "back\\slash", ""):
        metrics.webhooks.labels(metrics.entity(name), "unnamed").inc()


def test_series_stay_few_whatever_comes() -> None:
    """After 10,000 records of 5,000 kinds: one series more than there is room for, and nothing is lost from the sum."""
    metrics = Metrics()
    metrics.know(["product", "invoice"])
    odd(metrics)
    few = len(metrics.samples())
    assert few < 3 * (MOST_ENTITIES + 10) + 100
    odd(metrics)
    assert len(metrics.samples()) == few
    stored = [
        one for one in metrics.samples() if one.name == "tds_webhooks_total" and one.labels["outcome"] == "stored"
    ]
    assert sum(one.value for one in stored) == 20_000
    assert {one.labels["entity"] for one in stored} >= {"product", OTHERS}
    assert metrics.entity("invoice") == "invoice"
    assert list(text_string_to_metric_families(metrics.exposition().decode()))


def test_promtool_finds_nothing() -> None:
    """Prometheus' own linter is content with the page, after 10,000 records as well."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; Debian has it in the package prometheus")
    metrics = Metrics()
    odd(metrics)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.exposition(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
