"""The statements that make default target tables where they are absent, as one text each."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from actors.zoho.tables import Table
from actors.zoho.target import quote


class Prepared(Struct, frozen=True):
    """Statements to be asked for when they are needed; equal to others that say the same."""

    texts: tuple[str, ...]

    def __call__(self) -> tuple[str, ...]:
        return self.texts


def statements(tables: Iterable[Table]) -> tuple[str, ...]:
    """One statement a table, harmless to repeat."""
    return tuple(_where_absent(table) for table in tables)


def _where_absent(table: Table) -> str:
    made = ";\n".join(table.statements)
    return f"DO $absent$ BEGIN IF to_regclass('{quote(table.name)}') IS NULL THEN\n{made};\nEND IF; END $absent$"
