"""A running daemon keeps to the document of its own API, whatever it is asked."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from fixtures.daemon import DaemonProcess

pytestmark = pytest.mark.anyio

OPERATOR = "operator-token-of-the-conformance"
MORE = f"""
[api]
wait = "100ms"
[api.tokens.robot]
role = "operator"
token = "{OPERATOR}"
"""
SECONDS = 25
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


async def test_no_request_meets_a_failure_or_an_undocumented_answer(
    daemons: Callable[..., DaemonProcess], database_dsn: str
) -> None:
    """Schemathesis tries values at and beyond every bound for half a minute: no 5xx, nothing that is not documented."""
    daemon = daemons(database_dsn, more=MORE)
    await daemon.start()
    words = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{daemon.address}/openapi.json",
        "--header",
        f"Authorization: Bearer {OPERATOR}",
        *("--exclude-path", "/api/tree/kill"),  # it learns paths from the tree, and does kill
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing"),
        *("--max-time", str(SECONDS)),
        *("--seed", "20261127"),
        *("--generation-database", "none"),
        "--continue-on-failure",
        "--no-color",
    ]
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with anyio.fail_after(8 * SECONDS):
        done = await anyio.run_process(words, check=False, cwd=daemon.directory, env=environment)
    said = done.stdout.decode()
    assert done.returncode == 0, said[-12_000:]
    tested = re.search(r"Tested:\s+(\d+)", said)
    assert tested is not None, said
    assert int(tested[1]) > 40, said
    assert (await daemon.http.get("/livez")).status_code == 200
    errors = [line for line in daemon.lines() if line.get("level") == "error"]
    assert errors == [], errors[:3]
