"""The receiving side of `bench ingest`, a process of its own: python -m actors.bench.receiver KIND PORT DSN."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import anyio
from starlette.applications import Starlette

from actors import webhooks
from actors.bench import load
from actors.entity_sync import entity_sync
from actors.messages import Wake
from actors.storage import storage
from actors.zoho import absent, entities, naming
from tds_runtime import Supervisor, http, intake, logs, run
from tds_runtime.database import Database, Options
from tds_runtime.intake import Receipt, Store
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Queue
from tds_runtime.spec import Child
from tds_runtime.values import Secret


class Discard:
    """Stands where the writer stands and answers without storing."""

    async def ask(self, question: Store, timeout: float = 0.0) -> Receipt:  # noqa: ASYNC109 - the writer's signature
        """Answer at once."""
        del timeout
        return Receipt(inbox_id=0, duplicate=False, event_id=question.delivery.correlation_id)


def tree(kind: str, port: int, dsn: str, mappings: Path) -> Supervisor:
    """`discard` answers only, `durable` stores as well, `whole` also applies what it stored."""
    compiled = entities.load(mappings)
    database = Database(Options(dsn=dsn))
    product = entity_sync(entity=compiled["product"], database=database, queue=Queue(database, boot_id="bench"))
    syncing = product.named("product")

    def wake(stored: frozenset[str]) -> None:
        if kind == "whole" and "product" in stored:
            syncing.ref.offer(Wake("product"))

    writer = intake.writer(database=database, on_stored=wake).named("writer")
    names = naming.Names(naming.kinds(compiled))
    options = webhooks.Options(secrets=(Secret(load.SECRET),))
    metrics = Metrics()
    routes = webhooks.routes(Discard() if kind == "discard" else writer.ref, names, options, metrics)
    sock = http.listen_socket(f"127.0.0.1:{port}")
    listening = http.listener(
        app=Starlette(routes=routes), sock=sock, options=http.Options(), observe=metrics.observe_request
    )
    listener = listening.named("listener")
    stored: list[Child] = (
        [storage(database=database, statements=lambda: absent.statements(compiled.tables)), writer]
        if kind != "discard"
        else []
    )
    return Supervisor("bench", strategy="rest_for_one", children=[*stored, *([syncing] * (kind == "whole")), listener])


async def main(kind: str, port: int, dsn: str, mappings: Path) -> None:
    """Serve until a signal."""
    with closing(logs.configure(logs.Options(format="json"))):
        await _serve(tree(kind, port, dsn, mappings))


async def _serve(root: Supervisor) -> None:
    async with run(root, signals=True) as runtime:
        await runtime.wait()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
