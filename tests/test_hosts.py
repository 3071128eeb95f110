"""Which servers a connection URL names."""

import pytest

from tds_runtime.hosts import Host, named


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql:///erp", []),
        ("postgresql://me:secret@db.example/erp", [Host("db.example", 5432)]),
        ("postgresql://me@one:5433,two/erp", [Host("one", 5433), Host("two", 5432)]),
        ("postgresql://[::1]:5433,[fe80::2]/erp", [Host("::1", 5433), Host("fe80::2", 5432)]),
        ("postgresql://%2Fvar%2Frun/erp", [Host("/var/run", 5432)]),
        ("postgresql://me@/erp?host=/var/run,/srv/run&port=5433", [Host("/var/run", 5433), Host("/srv/run", 5433)]),
        ("postgresql:///erp?host=one,two&port=1,2", [Host("one", 1), Host("two", 2)]),
        ("postgresql:///erp?host=one,two&port=1,2,3", []),
    ],
)
def test_hosts_and_their_ports(dsn: str, hosts: list[Host]) -> None:
    """In the order of the URL, wherever they stand in it; a wrong number of ports is left to the driver."""
    assert list(named(dsn)) == hosts
