"""Workflow webhooks: rendered when their record changes, signed, sent, retried by policy, and spoilt on request."""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import count
from typing import Literal
from urllib.parse import urlencode

import anyio
import httpx2
import msgspec
from msgspec import Struct

from actors.sandbox.clock import Clock
from actors.sandbox.options import WEBHOOK_SECRET, Switches
from actors.sandbox.shapes import Document
from actors.sandbox.signing import sign

SENDERS = 8
KEPT = 2000
EVENTS = ("created", "edited", "deleted")
Shape = Literal["json", "jsonstring", "form"]


class Hook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a workflow rule posts: `secret` None means the announced one, "" means unsigned; `retry` is a policy."""

    url: str
    entity: str | list[str] = "*"
    events: tuple[str, ...] = EVENTS
    secret: str | None = None
    shape: Shape = "json"
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    method: str = "POST"
    retry: tuple[float, ...] = ()
    name: str = ""


class Chaos(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares (0 to 1) of deliveries that are lost, sent twice, swapped with the next, or late by some seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    late: float = 0.0
    late_seconds: float = 5.0
    seed: int = 1


class Letter(Struct, kw_only=True):
    """One delivery: the body as it was when the record changed, and what became of it."""

    number: int
    hook: Hook
    entity: str
    record_id: str
    event: str
    body: bytes
    signed: Literal["yes", "no", "badly"] = "yes"
    tries: int = 0
    status: int = 0
    answer: str = ""
    milliseconds: float = 0.0


class Post:
    """Queues letters and sends them, several at a time; counts everything that happens to one."""

    def __init__(self, clock: Clock, switches: Callable[[], Switches], *, capped: Callable[[], bool]) -> None:
        self._clock = clock
        self._switches = switches
        self._capped = capped
        self.chaos = Chaos()
        self._random = random.Random(1)  # noqa: S311 - repeatable chaos, not a secret
        self._ready: deque[Letter] = deque()
        self._held: Letter | None = None
        self._later: list[tuple[float, int, Letter]] = []
        self._order = count()
        self._wake = anyio.Event()
        self._busy = 0
        self._next = 1
        self._today = ("", 0)
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.letters: deque[Letter] = deque(maxlen=KEPT)

    def spoil(self, chaos: Chaos) -> None:
        """Set the shares and start their random stream anew."""
        self.chaos = chaos
        self._random = random.Random(chaos.seed)  # noqa: S311 - as above

    def reset(self) -> None:
        """Forget what was counted and what waits; letters on their way still arrive."""
        self.spoil(Chaos())
        self._ready.clear()
        self._later.clear()
        self._held = None
        self._today = ("", 0)
        for counted in (self.counts, self.statuses, self.letters):
            counted.clear()

    # --- queueing

    def post(self, hook: Hook, entity: str, record_id: str, event: str, body: bytes, *, signed: str = "yes") -> int:
        """Queue one delivery, or lose it when chaos says so; answers its number."""
        letter = Letter(
            number=self._next, hook=hook, entity=entity, record_id=record_id, event=event, body=body,
            signed=msgspec.convert(signed, Literal["yes", "no", "badly"]),
        )  # fmt: skip
        self._next += 1
        self.counts["queued"] += 1
        self.letters.append(letter)
        if self._over_cap():
            self.counts["capped"] += 1
        elif self._hit(self.chaos.drop):
            self.counts["dropped"] += 1
        else:
            self._enqueue(letter)
            if self._hit(self.chaos.duplicate):
                self.counts["duplicated"] += 1
                self._enqueue(msgspec.structs.replace(letter))
        return letter.number

    def _hit(self, share: float) -> bool:
        return share > 0 and self._random.uniform(0, 1) < share

    def _over_cap(self) -> bool:
        day, sent = self._today
        today = self._clock.today()
        self._today = (today, sent + 1 if day == today else 1)
        return self._capped() and self._today[1] > self._switches().webhooks_per_day

    def _enqueue(self, letter: Letter) -> None:
        if self._hit(self.chaos.late):
            self.counts["late"] += 1
            self._postpone(letter, self.chaos.late_seconds)
        elif self._held is None and self._hit(self.chaos.reorder):
            self.counts["reordered"] += 1
            self._held = letter
        else:
            self._ready.append(letter)
            if self._held is not None:
                self._ready.append(self._held)
                self._held = None
        self._ring()

    def _postpone(self, letter: Letter, seconds: float) -> None:
        heapq.heappush(self._later, (anyio.current_time() + seconds, next(self._order), letter))

    def _ring(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    # --- sending

    async def run(self) -> None:
        """Send until cancelled."""
        limits = httpx2.Limits(max_connections=SENDERS, max_keepalive_connections=SENDERS)
        async with httpx2.AsyncClient(trust_env=False, limits=limits) as client, anyio.create_task_group() as group:
            for _ in range(SENDERS):
                group.start_soon(self._work, client)

    async def _work(self, client: httpx2.AsyncClient) -> None:
        while True:
            letter = self._take()
            if letter is None:
                await self._rest()
                continue
            self._busy += 1
            try:
                await self._send(client, letter)
            finally:
                self._busy -= 1
                self._ring()

    def _take(self) -> Letter | None:
        while self._later and self._later[0][0] <= anyio.current_time():
            self._ready.append(heapq.heappop(self._later)[2])
        return self._ready.popleft() if self._ready else None

    async def _rest(self) -> None:
        """Wait for mail, or until the next late letter is due."""
        wake = self._wake
        due = self._later[0][0] - anyio.current_time() if self._later else 3600.0
        with anyio.move_on_after(max(0.0, due)):
            await wake.wait()

    async def _send(self, client: httpx2.AsyncClient, letter: Letter) -> None:
        hook, switches = letter.hook, self._switches()
        content, form, content_type = _shaped(hook.shape, letter.body)
        headers = {"content-type": content_type, "user-agent": "ZohoBooks", **hook.headers}
        secret = WEBHOOK_SECRET if hook.secret is None else hook.secret
        if secret and letter.signed != "no":
            signature = sign(secret, hook.query, form, b"" if form else content, encoding=switches.signature_encoding)
            headers[switches.signature_header] = signature if letter.signed == "yes" else signature[::-1]
        letter.tries += 1
        started = time.perf_counter()
        try:
            answer = await client.request(
                hook.method,
                hook.url,
                params=hook.query or None,
                content=content,
                headers=headers,
                timeout=switches.webhook_timeout,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            letter.status, letter.answer = 0, type(error).__name__
        else:
            letter.status, letter.answer = answer.status_code, answer.text[:300]
        letter.milliseconds = (time.perf_counter() - started) * 1000
        self._settle(letter)

    def _settle(self, letter: Letter) -> None:
        self.statuses[str(letter.status)] += 1
        if letter.status and (letter.status // 100 == 2 or self._switches().webhook_success == "any"):  # noqa: PLR2004 - 2xx
            self.counts["delivered"] += 1
        elif letter.tries <= len(letter.hook.retry):
            self.counts["retried"] += 1
            self._postpone(letter, letter.hook.retry[letter.tries - 1])
            self._ring()
        else:
            self.counts["failed"] += 1

    # --- looking

    @property
    def waiting(self) -> int:
        """Letters not yet delivered or given up."""
        return len(self._ready) + len(self._later) + self._busy + (self._held is not None)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - it is a field of the control call
        """Wait until nothing is waiting; a letter held for a swap is let go."""
        with anyio.move_on_after(timeout):
            while self.waiting:
                if self._held is not None:
                    self._ready.append(self._held)
                    self._held = None
                    self._ring()
                wake = self._wake
                with anyio.move_on_after(0.2):
                    await wake.wait()

    def statistics(self) -> dict[str, object]:
        """Counts since the start, and how long the newest deliveries took."""
        names = ("queued", "delivered", "failed", "dropped", "duplicated", "reordered", "late", "retried", "capped")
        times = sorted(letter.milliseconds for letter in self.letters if letter.tries)
        spread = (
            {f"p{part}": round(times[min(len(times) - 1, len(times) * part // 100)], 2) for part in (50, 95, 99)}
            if times
            else {}
        )
        counts = {name: self.counts[name] for name in names}
        return counts | {"waiting": self.waiting, "statuses": dict(self.statuses), "latency_ms": spread}


def _shaped(shape: Shape, body: bytes) -> tuple[bytes, dict[str, str], str]:
    """Content, form fields and content type of a body in that shape."""
    if shape == "json":
        return body, {}, "application/json"
    form = {"JSONString": body.decode()} if shape == "jsonstring" else _fields(body)
    return urlencode(form).encode(), form, "application/x-www-form-urlencoded"


def _fields(body: bytes) -> dict[str, str]:
    """The plain values of the document as form fields."""
    document: Document = next(iter(msgspec.json.decode(body).values()), {})
    return {key: str(value) for key, value in document.items() if isinstance(value, str | int | float)}
