"""What an error of the driver means: the server is away, or it rejected something; and what can be trusted after it."""

from __future__ import annotations

import asyncpg

# What the server says when it is away, ending, starting, read only after a fail-over, or out of room.
OUTAGE_CLASSES = ("08", "53", "57P", "58")
OUTAGE_CODES = frozenset({"25006", "57014"})
EXPIRING_CODES = frozenset({"25006", "57P01", "57P02", "57P03"})
# What asyncpg raises when a statement or a connection fails; everything else is a mistake of the caller.
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def outage(error: Exception) -> str | None:
    """Say why the server counts as away, or None for a definite rejection or a mistake of the caller."""
    if isinstance(error, (OSError, asyncpg.InternalClientError)):  # TimeoutError is an OSError
        return text(error)
    if isinstance(error, asyncpg.PostgresError):
        code = _code(error)
        away = code in OUTAGE_CODES or code.startswith(OUTAGE_CLASSES)
        return f"{text(error)} ({code})" if away else None
    if isinstance(error, ValueError):  # an argument that cannot be encoded
        return None
    return text(error) if "clos" in str(error) or "released" in str(error) else None


def only_late(error: Exception) -> bool:
    """Whether the server itself gave up one statement, by its timeout: it is there."""
    return _code(error) == "57014"


def still_usable(error: Exception) -> bool:
    """Whether the connection survived: the server gave up a statement, or had no room for it."""
    return only_late(error) or _code(error).startswith(("53", "58"))


def expires(error: Exception) -> bool:
    """Whether other connections to that server cannot be trusted either."""
    code = _code(error)
    return not code or code in EXPIRING_CODES or code.startswith("08")


def _code(error: Exception) -> str:
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def text(error: Exception) -> str:
    """Return the error's message, or words for one that has none."""
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
