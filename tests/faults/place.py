"""Where a fault is played: a Postgres of one's own that may be killed, fresh databases, configurations, a warm process.

Each database has the daemon's schema, the target tables of products and invoices, and a table `effects` to which
triggers write, in the order of the commits, every change of a product and of a record's state.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from faults.warm import Nursery, warm

from actors.processes import free_port
from actors.stage import QUIET
from actors.zoho import absent, entities
from tds_runtime import migrate, premises
from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server

ROOT = Path(__file__).parents[2]
SECRET = "aSecretForTheTests2026"
ENTITIES = ("product", "invoice", "customer", "price_list")  # an invoice refers to its customer, which has a price list
TEMPLATE = "place_template"
MEMORY = Path("/dev/shm")
SETTINGS = {"max_connections": "200", "shared_buffers": "64MB"}
EFFECTS = (Path(__file__).parent / "effects.sql").read_text()
CONFIGURATION = """\
[database]
dsn = "{dsn}"
{database}

[http]
bind = "127.0.0.1:{port}"
{http}

[webhooks]
secrets = ["{secret}"]

[zoho]
organization_id = "{organization_id}"
client_id = "{client_id}"
client_secret = "{client_secret}"
refresh_token = "{refresh_token}"
accounts_url = "{accounts}"
api_url = "{api}"
calls_per_minute = 0

[entities]
directory = "{entities}"
create_tables = true

{schedules}

[log]
format = "json"

{more}
"""
NOWHERE: Mapping[str, str] = {
    "organization_id": "1",
    "client_id": "nobody",
    "client_secret": "aClientSecretForTheTests",
    "refresh_token": "aRefreshTokenForTheTests",
    "accounts": "http://127.0.0.1:9",
    "api": "http://127.0.0.1:9",
    "secret": SECRET,
}
"""A source that nobody answers for."""


class Place:
    """A server in a directory, and what is needed to run daemons on it."""

    def __init__(self, directory: Path, nursery: Nursery, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.nursery = nursery
        self.server = Server(directory / "postgres", settings={**SETTINGS, **(settings or {})})
        self.entities = directory / "entities"
        self._serial = itertools.count(1)
        self._names: list[str] = []

    @property
    def postmaster_pid(self) -> int:
        """The process to kill, to stop or to freeze; another one after each start."""
        return int((self.server.data_directory / "data" / "postmaster.pid").read_text().split()[0])

    @property
    def socket(self) -> Path:
        """The Unix socket of the server, for proxies."""
        return Path(premises.socket_directory(self.server.data_directory)) / premises.SOCKET_NAME

    async def database(self) -> str:
        """Make a fresh database with all tables and triggers; returns its DSN."""
        name = f"place_{next(self._serial)}"
        await execute(self.dsn("postgres"), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.dsn(name)

    def dsn(self, database: str) -> str:
        """The DSN of a database of this server, through its Unix socket."""
        return urlunsplit(urlsplit(self.server.dsn)._replace(path=f"/{database}"))

    def through(self, dsn: str, port: int) -> str:
        """The same database behind a proxy on a local port."""
        return f"postgresql://{premises.USER}@127.0.0.1:{port}{urlsplit(dsn).path}"

    def configure(
        self,
        dsn: str,
        *,
        more: str = "",
        database: str = "",
        http: str = "",
        source: Mapping[str, str] = NOWHERE,
        entities: Path | None = None,
    ) -> Path:
        """Write a tds.toml for a daemon on that database, with a port and a directory of its own; returns its path.

        Args:
            dsn: of the database.
            more: further sections.
            database: further lines of [database].
            http: further lines of [http].
            source: where it is and what it accepts.
            entities: directory of the mappings; those of the place when nothing is said.
        """
        directory = self.directory / f"daemon-{next(self._serial)}"
        directory.mkdir()
        path = directory / "tds.toml"
        path.write_text(
            CONFIGURATION.format(
                dsn=dsn,
                port=free_port(),
                entities=entities or self.entities,
                **source,
                schedules=QUIET,
                more=more,
                database=database,
                http=http,
            )
        )
        return path

    async def prepare(self) -> None:
        """Start the server and make the template of its databases."""
        self.entities.mkdir()
        for name in ENTITIES:
            shutil.copy(ROOT / "config" / "entities" / f"{name}.toml", self.entities)
        await self.server.start()
        await execute(self.dsn("postgres"), f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 ENCODING 'UTF8'")
        async with Database(Options(dsn=self.dsn(TEMPLATE))).opened() as database:
            await migrate.apply(database, statements=absent.statements(entities.load(self.entities).tables))
        await execute(self.dsn(TEMPLATE), EFFECTS)


@contextmanager
def ground() -> Iterator[Path]:
    """A temporary directory, in memory where there is room, which the user that Postgres runs as may enter."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30
    with tempfile.TemporaryDirectory(dir=MEMORY if roomy else None, prefix="faults-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@asynccontextmanager
async def place(directory: Path, *, settings: Mapping[str, str] | None = None) -> AsyncIterator[Place]:
    """Open a place in a directory that the user of the server may enter; all of it has ended on leaving.

    Args:
        directory: exists and is empty.
        settings: further ones of the server.
    """
    async with warm(directory) as nursery:
        here = Place(directory, nursery, settings)
        try:
            await here.prepare()
            yield here
        finally:
            await here.server.stop()


async def execute(dsn: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run one statement (or, without arguments and rows, a script) on a connection of its own."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        if arguments or statement.lstrip().upper().startswith(("SELECT", "WITH", "VALUES", "SHOW")):
            return await connection.fetch(statement, *arguments)
        await connection.execute(statement)
        return []
    finally:
        await connection.close(timeout=10)
