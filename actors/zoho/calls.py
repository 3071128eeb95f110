"""What surrounds each call to the source: budget, breaker, permit, token, retries, and one meaning per answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NoReturn, TypeVar
from urllib.parse import urlencode

import anyio

from actors.zoho import answers
from actors.zoho.answers import Answer, Verdict
from actors.zoho.call import Call, Paused, Policy, Tally
from actors.zoho.hosts import PREFIXES
from actors.zoho.metering import METER
from actors.zoho.oauth import OAuth
from actors.zoho.tokens import Token
from actors.zoho.transport import Transport
from tds_runtime import limiter, logs
from tds_runtime.breaker import Breaker
from tds_runtime.errors import (
    BreakerOpen,
    Error,
    RateLimited,
    RecordMissing,
    SourceAnswerInvalid,
    SourceDown,
    SourceRefused,
    SourceRejected,
)
from tds_runtime.limiter import Budget, Limiter

T = TypeVar("T")

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
"""Seconds before the second try, and at most before any other."""

POST_DEADLINE = 30.0
"""Seconds for a token with all its tries: somebody's row lock is held meanwhile."""

log = logs.get("source")


class Caller:
    """Makes calls; knows nothing of entities."""

    def __init__(
        self,
        policy: Policy,
        *,
        transport: Transport,
        oauth: OAuth,
        limiter: Limiter,
        breakers: Mapping[str, Breaker],
        clock: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
    ) -> None:
        self.budgets: dict[str, Budget] = {api: Budget() for api in PREFIXES}
        self.tallies: dict[str, Tally] = {name: Tally() for name in breakers}
        self._policy = policy
        self._transport = transport
        self._oauth = oauth
        self._limiter = limiter
        self._breakers = breakers
        self._clock = clock
        self._random = randomness or random.Random()  # noqa: S311 - jitter, not secrets
        self._organization = urlencode({"organization_id": policy.organization_id})
        self._denied: dict[str, str] = {}
        self._underway = dict.fromkeys(PREFIXES, 0)

    async def make(self, call: Call[T]) -> T:
        """The read answer of this call, after as many tries as are safe and the policy allows.

        Raises `RateLimited`, `SourceDown` (`BreakerOpen`, `SourceRefused`) for what passes; `RecordMissing`,
        `SourceRejected`, `SourceAnswerInvalid` for what does not.
        """
        tries, spent = 0, 0.0
        while True:
            tries += 1
            began = anyio.current_time()
            try:
                return await self._attempt(call, first=tries == 1)
            except Error as error:
                self.tallies[call.api].failures[type(error).__name__] += 1
                delay = self._delay(call, error, tries)
                spent += 0.0 if isinstance(error, RateLimited) else anyio.current_time() - began + (delay or 0.0)
                if delay is None or tries >= self._policy.tries or spent > self._policy.deadline:
                    raise
            self.tallies[call.api].retries += 1
            await anyio.sleep(delay)

    def _delay(self, call: Call[T], error: Error, tries: int) -> float | None:
        """Seconds before the next try, or None when there is none."""
        if call.method != "GET" or isinstance(error, BreakerOpen | SourceRefused):
            return None
        if isinstance(error, Paused):
            return 0.0  # the limiter knows how long
        if not isinstance(error, SourceDown | SourceAnswerInvalid):
            return None
        ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (tries - 1))
        return self._random.uniform(ceiling / 2, ceiling)

    async def _attempt(self, call: Call[T], *, first: bool) -> T:
        self._check_budget(call)
        self._underway[call.api] += 1
        try:
            return await self._permitted(call, first=first)
        finally:
            self._underway[call.api] -= 1

    async def _permitted(self, call: Call[T], *, first: bool) -> T:
        self._breakers[call.api].check()
        if not (first and call.permitted):
            await self._limiter.acquire(patience=call.patience)
        token = await self._oauth.token()
        answer, verdict = await self._exchange(call, token)
        if verdict.kind == "unauthorized":
            token = await self._another_token(call, token, verdict)
            await self._limiter.acquire(patience=call.patience)
            answer, verdict = await self._exchange(call, token)
            if verdict.kind == "unauthorized":
                self._deny(call, token, verdict)
        if verdict.kind == "ok":
            return call.read(answer)
        return await self._refuse(call, answer, verdict)

    # --- permission

    def _check_budget(self, call: Call[T]) -> None:
        share = self._policy.reserve if call.bulk else 0.0
        until = limiter.refusal(self.budgets[call.api], self._clock(), share, self._underway[call.api])
        if until is not None:
            kept = ", but for the reserve" if share else ""
            raise RateLimited(f"the day's calls to {call.api} are used up{kept}", until=_moment(until))

    async def _another_token(self, call: Call[T], token: Token, verdict: Verdict) -> Token:
        """One other token for a call that was refused; none where a fresh one was refused before: a missing scope."""
        if self._denied.get(_place(call)) == token.access:
            self._deny(call, token, verdict)
        return await self._oauth.renew(token)

    def _deny(self, call: Call[T], token: Token, verdict: Verdict) -> NoReturn:
        place = _place(call)
        if self._denied.get(place) != token.access:
            log.error("call.refused", api=call.api, path=call.path, code=verdict.code, reason="scope missing?")
        self._denied[place] = token.access
        raise SourceRefused(f"{place}: code {verdict.code} {verdict.message} (also with a new token: scope missing?)")

    # --- one exchange

    async def _exchange(self, call: Call[T], token: Token) -> tuple[Answer, Verdict]:
        base = self._policy.base or token.api_domain or self._policy.fallback
        query = f"{urlencode(call.params)}&" if call.params else ""
        url = f"{base}{PREFIXES[call.api]}{call.path}?{query}{self._organization}"
        headers = {"Authorization": f"Zoho-oauthtoken {token.access}"}
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        async with self._limiter.slot():
            return await self._judged(call, url, headers)

    async def _judged(self, call: Call[T], url: str, headers: dict[str, str]) -> tuple[Answer, Verdict]:
        tally, meter = self.tallies[call.api], METER.get()
        with self._breakers[call.api].admit() as permit:
            tally.calls += 1
            if meter is not None:
                meter.note_call()
            began = anyio.current_time()
            try:
                answer = await self._transport.exchange(
                    call.method, url, headers=headers, cap=call.cap, content=call.content
                )
            except SourceDown as error:
                permit.fail(str(error))
                raise
            finally:
                tally.seconds += anyio.current_time() - began
            tally.bytes += len(answer.body)
            if meter is not None:
                meter.note_answer(len(answer.body))
            verdict = call.judge(answer, self._now())
            permit.fail(verdict.message) if verdict.kind in {"down", "invalid"} else permit.succeed()
        self._observe(call.api, answer)
        return answer, verdict

    def _observe(self, api: str, answer: Answer) -> None:
        told = answers.quota(answer.headers)
        if told is not None:
            now = self._clock()
            self.budgets[api] = limiter.observe(self.budgets[api], told.limit, told.remaining, told.resets_in, now)

    # --- what went wrong

    async def _refuse(self, call: Call[T], answer: Answer, verdict: Verdict) -> NoReturn:
        text = f"{call.api} {call.path}: code {verdict.code} {verdict.message}".rstrip()
        match verdict.kind:
            case "missing":
                raise RecordMissing(text, status=answer.status, code=verdict.code)
            case "down":
                raise SourceDown(text)
            case "invalid":
                raise SourceAnswerInvalid(text)
            case "day":
                self._close_day(call.api, verdict)
                raise RateLimited(text, until=_moment(self.budgets[call.api].resets_at))
            case "minute" | "blocked" | "busy":
                raise Paused(text, until=await self._pause(verdict))
            case _:
                raise SourceRejected(text, status=answer.status, code=verdict.code)

    def _close_day(self, api: str, verdict: Verdict) -> None:
        """The day is over; its end is what headers told, of this answer or of one before, else what the pause says."""
        now, known = self._clock(), self.budgets[api]
        if known.resets_at <= now:
            known = limiter.observe(known, max(known.limit, 1), 0, verdict.seconds, now)
        self.budgets[api] = limiter.exhausted(known, now)
        log.warning("budget.exhausted", api=api, resets_in=round(known.resets_at - now))

    async def _pause(self, verdict: Verdict) -> datetime:
        seconds = verdict.seconds or self._random.uniform(FIRST_DELAY, 4 * FIRST_DELAY)
        log.warning("source.paused", code=verdict.code, seconds=round(seconds, 1), message=verdict.message)
        await self._limiter.pause(seconds, f"code {verdict.code}")
        return _moment(self._clock() + seconds)

    # --- the accounts server

    async def post(self, url: str, form: bytes) -> Answer:
        """One call to the token endpoint, tried again when the network or the server fails."""
        tries, ends = 0, anyio.current_time() + POST_DEADLINE
        while True:
            tries += 1
            try:
                return await self._post(url, form, ends - anyio.current_time())
            except BreakerOpen:
                raise
            except SourceDown:
                delay = self._random.uniform(FIRST_DELAY / 2, FIRST_DELAY * 2.0 ** (tries - 1))
                if tries >= self._policy.tries or anyio.current_time() + delay > ends:
                    raise
            self.tallies["oauth"].retries += 1
            await anyio.sleep(delay)

    async def _post(self, url: str, form: bytes, within: float) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._breakers["oauth"].admit() as permit:
            self.tallies["oauth"].calls += 1
            try:
                answer = await self._transport.exchange(
                    "POST", url, headers=headers, cap=1 << 16, content=form, within=within
                )
                _demand_service(answer)
            except SourceDown as error:
                self.tallies["oauth"].failures[type(error).__name__] += 1
                permit.fail(str(error))
                raise
            permit.succeed()
        return answer

    def _now(self) -> datetime:
        return _moment(self._clock())


def _demand_service(answer: Answer) -> None:
    if answer.status >= 500:  # noqa: PLR2004 - the class of statuses
        raise SourceDown(f"the accounts server answers {answer.status}")


def _place(call: Call[T]) -> str:
    """The part of the API a scope covers."""
    return f"{call.api} /{call.path.strip('/').split('/')[0]}"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
