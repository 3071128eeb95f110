"""What `check --connect` tries beside the database: the target tables and the source."""

from __future__ import annotations

from collections.abc import Sequence

from actors.configuration import Config
from actors.parts import Parts
from actors.zoho import tables
from actors.zoho.client import Client
from tds_runtime import embedded
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, Error


async def target_tables(config: Config) -> Sequence[str]:
    """Why the target tables cannot be written; silent where there is no database, which is said elsewhere."""
    parts = Parts(config)
    if config.database.dsn == "embedded" and await embedded.attach(config.database.data_directory) is None:
        return []
    try:
        async with Database(config.database).opened() as database, database.connection() as connection:
            found = await tables.faults(connection, parts.entities.tables)
    except DatabaseGone:
        return []
    made = parts.statements()
    return [f"entities: {sentence}" for sentence in found if not (made and "is not there" in sentence)]


async def source(config: Config) -> Sequence[str]:
    """Why the source cannot be asked: credentials, scope, network. A sandbox comes with the daemon and is not tried."""
    if config.sandbox.enabled:
        return []
    client = Client(config.zoho)  # with a token of its own: the shared one needs the database
    try:
        async with client.opened():
            await client.get("books", "/organizations")
    except Error as error:
        return [f"zoho: {error}"]
    return []
