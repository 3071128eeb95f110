"""Creating the default tables, and saying what is wrong with those that are there."""

import pytest
from fixtures.documents import shipped

from actors.zoho import tables
from tds_runtime.database import Database

pytestmark = pytest.mark.anyio


async def test_tables_are_created_once(database: Database) -> None:
    """All tables of the thirteen come in one go, and what is there is left alone."""
    mapped = shipped()
    async with database.transaction() as connection:
        created = await tables.create_missing(connection, mapped.tables)
        assert created == tuple(table.name for table in mapped.tables)
        assert await tables.create_missing(connection, mapped.tables) == ()
        assert await tables.faults(connection, mapped.tables) == ()


async def test_an_absent_table_is_named_with_its_remedy(database: Database) -> None:
    """Without its table an entity cannot run, and the message says what makes it."""
    async with database.connection() as connection:
        found = await tables.faults(connection, shipped()["user"].tables)
    assert found == ("table users is not there (tds-runtime migrate --with-erp-tables creates it)",)


async def test_a_foreign_table_is_left_alone(database: Database) -> None:
    """A live ERP's login table is neither created over nor written without `adopt = true`."""
    await database.execute("CREATE TABLE users (id int PRIMARY KEY, name text, zoho_user_id text)")
    user = shipped()["user"]
    async with database.transaction() as connection:
        assert await tables.create_missing(connection, user.tables) == ()
        found = await tables.faults(connection, user.tables)
    assert found[0] == "table users was not made by this daemon (adopt = true in its mapping lets it be written)"
    assert "table users has no column email" in found
    assert found[-1] == "table users needs a unique index on (zoho_user_id)"


@pytest.mark.parametrize(
    ("index", "is_enough"),
    [
        ("CREATE UNIQUE INDEX ON users (zoho_user_id)", True),
        ("CREATE UNIQUE INDEX ON users (zoho_user_id) INCLUDE (name)", True),
        ("CREATE UNIQUE INDEX ON users (zoho_user_id) WHERE name IS NOT NULL", False),
        ("CREATE UNIQUE INDEX ON users (zoho_user_id, name)", False),
        ("CREATE INDEX ON users (zoho_user_id)", False),
    ],
)
async def test_the_external_id_must_be_unique(database: Database, index: str, is_enough: bool) -> None:
    """Only a whole, plain unique index on just the id column carries an upsert."""
    user = shipped()["user"]
    async with database.transaction() as connection:
        await tables.create_missing(connection, user.tables)
        await connection.execute("ALTER TABLE users DROP CONSTRAINT users_zoho_user_id_key")
        await connection.execute(index)
        assert (await tables.faults(connection, user.tables) == ()) is is_enough
