"""The registry and its page."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from tds_runtime.metrics import Metrics, Sample


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
