"""Access tokens: refreshed before they expire, by one caller at a time in the whole fleet, and never in a loop."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import anyio
import msgspec
from msgspec import Struct, structs

from actors.zoho import hosts
from actors.zoho.answers import Answer
from actors.zoho.tokens import MARGIN, Memory, Slot, Standing, Store, Token
from tds_runtime import logs
from tds_runtime.config import Secret
from tds_runtime.errors import RateLimited, SourceAnswerInvalid, SourceDown, SourceRefused

LAST_SECONDS = 10.0
"""Where it cannot be replaced yet, it is used up to this many seconds before its end."""

PARKED = 300.0
"""After a refusal the credentials are tried again this often: nothing waits for a person for ever."""

THROTTLED = (60.0, 120.0, 300.0, 600.0)
"""Waits after "too many requests", one after the other."""

WINDOW, REFRESHES = 600.0, 8
"""The source throttles at ten refreshes in ten minutes; we stop short of it."""

log = logs.get("oauth")


class Credentials(Struct, frozen=True, kw_only=True):
    """Who we are to the accounts server."""

    accounts: str
    client_id: str
    client_secret: Secret
    refresh_token: Secret


class Issued(Struct):
    """What the token endpoint answers, success or not."""

    access_token: str = ""
    api_domain: str = ""
    expires_in: float = 3600.0
    error: str = ""
    error_description: str = ""


class Statistics(Struct, frozen=True, kw_only=True):
    """The token, for a screen; it never shows the token."""

    expires_at: float
    refreshed: int
    parked_until: float
    reason: str


class OAuth:
    """Hands out the access token; `post` makes one call to the token endpoint, or raises `SourceDown`."""

    def __init__(
        self,
        credentials: Credentials,
        post: Callable[[str, bytes], Awaitable[Answer]],
        store: Store | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._post = post
        self._store = store or Memory()
        self._clock = clock
        self._turn = anyio.Lock()
        self._standing = Standing()
        self._refreshed = 0

    async def token(self) -> Token:
        """A token with some life left.

        Raises `SourceRefused` while the credentials are parked, `RateLimited` while throttled, `SourceDown`.
        """
        token = self._standing.token
        if token is not None and token.fresh(self._clock()):
            return token
        try:
            return await self.renew(None)
        except (SourceDown, RateLimited):
            left = self._standing.token
            if left is None or self._clock() > left.expires_at - LAST_SECONDS:
                raise
            return left

    async def renew(self, stale: Token | None) -> Token:
        """Another token than `stale`, which the source no longer takes; whoever comes second gets the first one's."""
        async with self._turn:
            held = self._usable(self._standing, stale)
            if held is not None:
                return held
            self._stand_by(self._standing)
            async with self._store.exclusive() as slot:
                self._standing = await self._renewed(slot, stale)
            token = self._usable(self._standing, stale)  # judged outside, so that a refusal is kept as well
            if token is None:
                raise self._refusal(self._standing)
            return token

    async def _renewed(self, slot: Slot, stale: Token | None) -> Standing:
        """What another node left, if that will do, else the answer to asking, which is left to the others."""
        self._standing = slot.standing
        if self._usable(slot.standing, stale) is not None:
            return slot.standing
        self._stand_by(slot.standing)
        standing = self._judge(slot.standing, await self._ask())
        await slot.save(standing)
        return standing

    def _usable(self, standing: Standing, stale: Token | None) -> Token | None:
        token = standing.token
        if token is None or not token.fresh(self._clock()):
            return None
        return None if token == stale else token  # the same text, issued anew, is another token

    def _stand_by(self, standing: Standing) -> None:
        """Raise what keeps everybody from asking now."""
        now = self._clock()
        recent = [moment for moment in standing.refreshes if now - WINDOW < moment <= now]
        if _parked(standing, now):
            raise self._refusal(standing)
        if len(recent) >= REFRESHES:
            raise RateLimited("too many refreshes in ten minutes", until=_moment(recent[-REFRESHES] + WINDOW))

    @staticmethod
    def _refusal(standing: Standing) -> SourceRefused | RateLimited:
        until = _moment(standing.parked_until)
        if standing.refused:
            return SourceRefused(f"the accounts server refuses us: {standing.reason}", until=until)
        return RateLimited(f"the accounts server throttles us: {standing.reason}", until=until)

    async def _ask(self) -> Answer:
        one = self._credentials
        form = urlencode(
            {
                "grant_type": "refresh_token",
                "refresh_token": one.refresh_token,
                "client_id": one.client_id,
                "client_secret": one.client_secret,
            }
        )
        return await self._post(f"{one.accounts}/oauth/v2/token", form.encode())

    def _judge(self, before: Standing, answer: Answer) -> Standing:
        """The new standing; errors come with status 200, throttling with 400."""
        issued = _issued(answer)
        now = self._clock()
        if answer.status >= 500:  # noqa: PLR2004 - the class of statuses
            raise SourceDown(f"the accounts server answers {answer.status}")
        if issued.error.casefold() == "access denied" or answer.status == 429:  # noqa: PLR2004 - too many requests
            return self._throttle(before, issued, now)
        if not issued.access_token:
            return self._park(before, issued.error or f"status {answer.status}", now)
        return self._accept(before, issued, now)

    def _accept(self, before: Standing, issued: Issued, now: float) -> Standing:
        self._refreshed += 1
        log.info("token.refreshed", expires_in=issued.expires_in)
        recent = tuple(moment for moment in before.refreshes if now - WINDOW < moment <= now)
        lifetime = max(issued.expires_in, MARGIN + 5)  # a shorter one would be refreshed at every call
        token = Token(
            access=issued.access_token,
            api_domain=self._domain(issued.api_domain),
            expires_at=now + lifetime,
            issued_at=now,
        )
        return Standing(token=token, refreshes=(*recent, now))

    def _domain(self, told: str) -> str:
        """The API host as told, if it is one this daemon may call at all."""
        try:
            return hosts.checked(told) if told else ""
        except ValueError as error:
            raise SourceAnswerInvalid(f"the accounts server names an API host that is not allowed: {error}") from error

    def _park(self, before: Standing, reason: str, now: float) -> Standing:
        log.error("token.refused", reason=reason, retry_in=PARKED)
        return structs.replace(before, token=None, parked_until=now + PARKED, reason=reason, refused=True)

    def _throttle(self, before: Standing, issued: Issued, now: float) -> Standing:
        seconds = THROTTLED[min(before.throttled, len(THROTTLED) - 1)]
        reason = (issued.error_description or issued.error)[:300]
        log.warning("token.throttled", reason=reason, retry_in=seconds)
        return structs.replace(
            before, parked_until=now + seconds, reason=reason, refused=False, throttled=before.throttled + 1
        )

    def closed_until(self) -> float:
        """Until when there is no token and nobody asks for one; 0 when there is one or it may be asked for."""
        now, standing = self._clock(), self._standing
        if standing.token is not None and now < standing.token.expires_at - LAST_SECONDS:
            return 0.0
        return standing.parked_until if _parked(standing, now) else 0.0

    def statistics(self) -> Statistics:
        """What a screen shows of it."""
        standing = self._standing
        return Statistics(
            expires_at=standing.token.expires_at if standing.token else 0.0,
            refreshed=self._refreshed,
            parked_until=standing.parked_until,
            reason=standing.reason,
        )


def _issued(answer: Answer) -> Issued:
    try:
        return msgspec.json.decode(answer.body, type=Issued)
    except (msgspec.DecodeError, RecursionError):
        if answer.status < 500:  # noqa: PLR2004 - the class of statuses
            raise SourceAnswerInvalid(f"the accounts server answers {answer.status} without JSON") from None
        return Issued()


def _parked(standing: Standing, now: float) -> bool:
    """Whether nobody asks now; a clock that was set back does not make that longer."""
    return now < standing.parked_until <= now + max(PARKED, *THROTTLED)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
