"""Who asks: bearer tokens kept as hashes, two roles, and strangers."""

from __future__ import annotations

import hashlib
import hmac
import math
from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request

from tds_runtime import logs, sql
from tds_runtime.clients import Clients, Throttle
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
    refused_logins: wrong tokens a minute of one client; then it is told to wait, whatever it sends.
    """

    tokens: dict[str, Token] = {}
    wait: Duration = Duration("10m")
    page: Annotated[int, Meta(ge=1, le=1000)] = 100
    refused_logins: Annotated[int, Meta(ge=1)] = 10


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

    def __init__(self, database: Database, options: Options, clients: Clients) -> None:
        self._database, self._clients = database, clients
        self._refusals = Throttle(options.refused_logins / 60, options.refused_logins)
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
        client = self._clients.name(request.scope)
        if wait := self._refusals.wait(client):
            raise too_often(wait, "Too many wrong tokens came from here.")
        digest = _digest(token.strip())
        caller = self._from_configuration(digest) or await self._from_database(digest)
        if caller is None:
            self._refusals.take(client)
            logs.get("api").warning("login.refused", client=client, path=request.url.path)
        return caller

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


def too_often(wait: float, detail: str) -> Refusal:
    """What a client is told that comes too often; `wait` is in seconds."""
    return Refusal(429, detail, headers={"Retry-After": str(math.ceil(wait))})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
