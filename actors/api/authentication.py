"""Who asks: bearer tokens kept as hashes, two roles, and strangers."""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

from msgspec import Struct
from starlette.requests import Request

from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.errors import Outage
from tds_runtime.gate import is_loopback
from tds_runtime.problem import Refusal
from tds_runtime.values import Duration, Secret

Role = Literal["public", "viewer", "operator"]

SHORTEST_TOKEN = 16

_RANK: dict[Role, int] = {"public": 0, "viewer": 1, "operator": 2}
CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Token(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token from the configuration; it works while the database is away, too."""

    role: Literal["viewer", "operator"]
    token: Secret

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST_TOKEN:
            raise ValueError(f"a token needs at least {SHORTEST_TOKEN} characters")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[api]`.

    tokens: by the name that the audit trail shows; beside those that `tds-runtime token create` makes.
    wait: how long a request with `?wait=true` may wait for its run.
    page: entries of a list when the request does not say.
    """

    tokens: dict[str, Token] = {}
    wait: Duration = Duration("10m")
    page: int = 100


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks; `is_local` is somebody on this machine without a proxy between."""

    name: str = ""
    role: Role = "public"
    is_local: bool = False

    @property
    def sees_all(self) -> bool:
        """Whether health may be shown in full."""
        return self.is_local or self.role != "public"


class Authentication:
    """Finds the caller of a request."""

    def __init__(self, database: Database, options: Options) -> None:
        self._database = database
        self._configured = {
            _digest(token.token): Caller(name=name, role=token.role) for name, token in options.tokens.items()
        }

    async def admit(self, request: Request, role: Role) -> Caller:
        """The caller, when it may do what asks for `role`; `Refusal` 401 or 403 otherwise."""
        try:
            caller = await self._identify(request)
        except Outage:
            if role != "public":
                raise
            caller = None  # with the database away health still answers, as to a stranger
        if caller is None:
            if role != "public":
                raise Refusal(401, "A valid bearer token is needed.", headers=CHALLENGE)
            return Caller(is_local=is_loopback(request.scope))
        if _RANK[caller.role] < _RANK[role]:
            raise Refusal(403, f"This needs the role {role}.")
        return caller

    async def _identify(self, request: Request) -> Caller | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        digest = _digest(token.strip())
        return self._from_configuration(digest) or await self._from_database(digest)

    def _from_configuration(self, digest: bytes) -> Caller | None:
        found = None
        for known, caller in self._configured.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    async def _from_database(self, digest: bytes) -> Caller | None:
        row = await self._database.fetchrow(sql.load("api/token", package="actors"), digest)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        return Caller(name=row["name"], role=row["role"])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
