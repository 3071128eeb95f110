from fixtures.sandbox import Sandbox


def test_default_data_has_the_announced_size(sandbox: Sandbox):
    """The default data set has the predecessor's numbers of items and contacts."""
    counts = sandbox.control("GET", "/counts")
    assert (counts["items"], counts["contacts"]) == (1312, 2503)
    assert len(sandbox.rows("/books/v3/items", "items")) == 1312
