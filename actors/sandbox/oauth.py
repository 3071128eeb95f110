"""OAuth 2 as Zoho's accounts server does it: errors with status 200, throttling with status 400, hour-long tokens."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qsl

from msgspec import Struct

from actors.sandbox.answers import Answer, json_answer
from actors.sandbox.chance import mixed
from actors.sandbox.clock import Clock
from actors.sandbox.options import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from actors.sandbox.request import multipart_fields, parse_query

LIFETIME = 3600
GRANTS, WINDOW = 10, 600
CODE_LIFETIME = 60
EVERYTHING = "ZohoBooks.fullaccess.all ZohoInventory.FullAccess.all"
THROTTLED = {
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "error": "Access Denied",
    "status": "failure",
}


class Token(Struct, frozen=True):
    """An access token's end (seconds) and what it may do."""

    ends: float
    scope: str


class Accounts:
    """Refresh tokens, access tokens, grant codes, and who may still get one."""

    def __init__(
        self, clock: Clock, *, seed: int, api_domain: Callable[[], str], throttled: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._seed = seed
        self._api_domain = api_domain
        self._throttled = throttled
        self.scope = EVERYTHING
        self._refresh_tokens = {REFRESH_TOKEN: deque[float]()}
        self._access: dict[str, Token] = {}
        self._codes: dict[str, float] = {}
        self._issued = 0

    def restore(self) -> None:
        """Make the announced refresh token good again, with full scope."""
        self._refresh_tokens[REFRESH_TOKEN] = deque()
        self.scope = EVERYTHING

    def revoke_access(self) -> int:
        """End all access tokens at once; answers how many there were."""
        ended = len(self._access)
        self._access.clear()
        return ended

    def revoke_refresh(self) -> None:
        """End all refresh tokens, and what was issued for them."""
        self._refresh_tokens.clear()
        self._access.clear()

    def grant_code(self) -> str:
        """A code for the authorization_code grant: good once, for a minute."""
        code = f"1000.{self._text()}.{self._text()}"
        self._codes[code] = self._clock.now() + CODE_LIFETIME
        return code

    def holder(self, header: bytes, *, bearer: bool) -> Token | None:
        """The valid token of an Authorization header; None when there is none."""
        scheme, _, text = header.decode("latin-1").partition(" ")
        if scheme != "Zoho-oauthtoken" and not (bearer and scheme == "Bearer"):
            return None
        token = self._access.get(text.strip())
        if token is None or token.ends <= self._clock.now():
            return None
        return token

    def statistics(self) -> dict[str, object]:
        """How many tokens there are, and how many were ever issued."""
        return {
            "access_tokens": len(self._access),
            "refresh_tokens": len(self._refresh_tokens),
            "issued": self._issued,
            "scope": self.scope,
        }

    # --- the endpoint

    def answer(self, path: str, raw_query: bytes, headers: dict[bytes, bytes], body: bytes) -> Answer:
        """`/oauth/v2/token` and `.../revoke`; parameters in the query, in a form, or the client by Basic."""
        given = parse_query(raw_query)
        kind = headers.get(b"content-type", b"").decode("latin-1")
        if kind.startswith("multipart/"):
            given |= multipart_fields(kind, body)
        elif not kind or "urlencoded" in kind:
            given |= dict(parse_qsl(body.decode("latin-1")))
        given |= _basic(headers.get(b"authorization", b""))
        if path.endswith("/revoke"):
            return self._revoke(given.get("token", ""))
        return self._token(given)

    def _revoke(self, token: str) -> Answer:
        known = self._access.pop(token, None) is not None
        if token in self._refresh_tokens:
            self.revoke_refresh()
            known = True
        return json_answer({"status": "success"} if known else {"error": "invalid_token"})

    def _token(self, given: dict[str, str]) -> Answer:
        if given.get("client_id") != CLIENT_ID:
            return json_answer({"error": "invalid_client"})
        if given.get("client_secret") != CLIENT_SECRET:
            return json_answer({"error": "invalid_client_secret"})
        match given.get("grant_type"):
            case "refresh_token":
                return self._refreshed(given.get("refresh_token", ""))
            case "authorization_code":
                return self._exchanged(given.get("code", ""))
            case _:
                return json_answer({"error": "unsupported_grant_type"})

    def _refreshed(self, refresh_token: str) -> Answer:
        grants = self._refresh_tokens.get(refresh_token)
        if grants is None:
            return json_answer({"error": "invalid_code"})
        now = self._clock.now()
        while grants and grants[0] <= now - WINDOW:
            grants.popleft()
        if self._throttled() and len(grants) >= GRANTS:
            return json_answer(THROTTLED, 400)
        grants.append(now)
        return json_answer(self._issue())

    def _exchanged(self, code: str) -> Answer:
        ends = self._codes.pop(code, 0.0)
        if ends <= self._clock.now():
            return json_answer({"error": "invalid_code"})
        refresh_token = f"1000.{self._text()}.{self._text()}"
        self._refresh_tokens[refresh_token] = deque()
        issued = self._issue()
        return json_answer({"access_token": issued.pop("access_token"), "refresh_token": refresh_token, **issued})

    def _issue(self) -> dict[str, object]:
        text = f"1000.{self._text()}.{self._text()}"
        now = self._clock.now()
        self._access = {known: token for known, token in self._access.items() if token.ends > now}
        self._access[text] = Token(now + LIFETIME, self.scope)
        return {
            "access_token": text, "scope": self.scope, "api_domain": self._api_domain(), "token_type": "Bearer",
            "expires_in": LIFETIME,
        }  # fmt: skip

    def _text(self) -> str:
        self._issued += 1
        return f"{mixed(self._seed, 7001, self._issued):016x}{mixed(self._seed, 7002, self._issued):016x}"


def _basic(header: bytes) -> dict[str, str]:
    scheme, _, text = header.decode("latin-1").partition(" ")
    if scheme != "Basic":
        return {}
    try:
        client_id, _, client_secret = base64.b64decode(text + "==").decode("latin-1").partition(":")
    except binascii.Error:
        return {}
    return {"client_id": client_id, "client_secret": client_secret}


def allowed(token: Token, api: str, areas: set[str], method: str) -> bool:
    """Whether a token's scope covers a call: `ZohoBooks.contacts.READ`, `.ALL`, or full access."""
    product = "ZohoBooks" if api == "books" else "ZohoInventory"
    right = {"GET": "READ", "POST": "CREATE", "PUT": "UPDATE", "DELETE": "DELETE"}.get(method, "READ")
    if token.scope == EVERYTHING:
        return True
    held = {scope.lower() for scope in token.scope.replace(",", " ").split()}
    wanted = {f"{product}.{area}.{verb}" for area in areas for verb in (right, "ALL")} | {f"{product}.fullaccess.all"}
    return not held.isdisjoint({scope.lower() for scope in wanted})
