"""What happens in the demo: a full sync, 385 edits told by 500 webhooks, and one actor killed on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import httpx2
import msgspec
from msgspec import Struct

from actors.service_levels.levels import Level
from actors.stage import Stage
from tds_runtime.errors import Error

# Distinct records of each kind: (edited, told about in an older version). Together 385 and 50.
SCRIPT: dict[str, tuple[int, int]] = {
    "product": (120, 20),
    "customer": (100, 15),
    "vendor": (20, 0),
    "invoice": (60, 10),
    "sales_order": (40, 5),
    "payment": (20, 0),
    "bill": (15, 0),
    "credit_note": (10, 0),
}
REPEATED = "customer", 50
REFUSED = "invoice", 10
POISONED: dict[str, int] = {"product": 2, "customer": 1, "invoice": 2}
VICTIM = "product"
PULL_WITHIN = 150.0
SETTLED_WITHIN = 60.0
TOLD_WITHIN = 30.0
ALERT = "dlq_overflow"
# What a service level is told from happens within the demo: rounds of the healer, an alert, samples every other second.
CONFIGURATION = """\
[metrics]
every = "2s"

[schedule.demo_healing]
every = "5s"
run = "heal"

[healer.thresholds]
dlq_warning = 4
"""


class PlayFailed(Error):
    """A step of the demo did not end as it must."""


class Sent(Struct, frozen=True):
    """What the sandbox delivered and what the daemon answered."""

    sent: int
    acknowledged: int
    refused: int
    duplicate: int


class Player:
    """Pulls the strings: the sandbox's control API on one side, the daemon's HTTP API on the other."""

    def __init__(self, stage: Stage, http: httpx2.AsyncClient, *, progress: Callable[[str], None]) -> None:
        self._stage = stage
        self._http = http
        self._progress = progress

    async def daemon(self, method: str, path: str, body: object = None) -> Any:
        """Call the daemon as an operator; anything but a 2xx answer ends the demo."""
        answer = await self._http.request(
            method, self._stage.daemon + path, json=body, headers={"authorization": f"Bearer {self._stage.token}"}
        )
        return _checked(answer)

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Call the sandbox's control API."""
        return _checked(await self._http.request(method, self._stage.sandbox.control + path, json=body))

    async def full_sync(self) -> None:
        """Pull everything once and wait until all that it listed is stored."""
        run = (await self.daemon("POST", "/api/zoho/bulk-sync/sync-all", {}))["run_id"]
        async for seen in _until(PULL_WITHIN, "the full sync"):
            answer = await self.daemon("GET", f"/api/bff/tds/runs/{run}")
            status, parts = answer["run"]["status"], answer["runs"]
            listed = sum(part["listed"] for part in parts)
            stored = sum(part["applied"] + part["unchanged"] for part in parts)
            self._progress(f"full sync: {stored} of {listed} listed records are stored, {seen:.0f} s")
            if status in {"failed", "cancelled"}:
                raise PlayFailed(f"the full sync ended as {status}: {answer['run']['error_message']}")
            if status == "completed":
                return

    async def webhooks(self) -> Sent:
        """Edit, tell the daemon in every way that webhooks go wrong, and kill an actor half way."""
        await self._aim()
        edited = {entity: await self._edit(entity, *counts) for entity, counts in SCRIPT.items()}
        kinds = list(edited.items())
        for entity, (fresh, _) in kinds[: len(kinds) // 2]:
            await self._tell(entity, fresh)
        await self.daemon("POST", "/api/tree/kill", {"path": await self._path(VICTIM), "reason": "demo"})
        for entity, (fresh, _) in kinds[len(kinds) // 2 :]:
            await self._tell(entity, fresh)
        for entity, (_, stale) in kinds:
            await self._send(entity, stale, "older")
        for entity, count in POISONED.items():
            await self._poison(entity, count)
        await self._send(REFUSED[0], edited[REFUSED[0]][0][: REFUSED[1]], "bad_signature")
        await self.control("POST", "/webhooks/drain", {"timeout": SETTLED_WITHIN})
        return await self._answers()

    async def settle(self) -> None:
        """Wait until nothing is pending, in work or waiting for its retry."""
        async for seen in _until(SETTLED_WITHIN, "the queue"):
            queue = (await self.daemon("GET", "/api/tds/monitoring/health"))["queue"]
            waiting = sum(int(queue[name]) for name in ("pending", "processing", "failed"))
            self._progress(f"webhooks: {waiting} waiting, {seen:.0f} s")
            if not waiting:
                return

    async def acknowledge(self) -> None:
        """Wait for the alert about the dead letters and say that somebody looks at it."""
        async for seen in _until(SETTLED_WITHIN, "the alert"):
            alerts = (await self.daemon("GET", f"/api/bff/tds/alerts?type={ALERT}"))["alerts"]
            self._progress(f"alert: {len(alerts)} open, {seen:.0f} s")
            if alerts:
                order = {"reason": "five of them are the demo's own"}
                await self.daemon("POST", f"/api/bff/tds/alerts/{alerts[0]['id']}/acknowledge", order)
                return

    async def levels(self) -> tuple[Level, ...]:
        """The service levels, once all of them have a figure, or as they stand when that takes too long."""
        found: tuple[Level, ...] = ()
        with anyio.move_on_after(TOLD_WITHIN):
            while not found or any(level.value is None for level in found):
                answer = await self.daemon("GET", "/api/bff/tds/stats/slo")
                found = msgspec.convert(answer["levels"], tuple[Level, ...])
                await anyio.sleep(0.2)
        return found

    async def restarts(self) -> int:
        """Restarts of all actors since the daemon began."""
        return sum(row["restarts"] for row in _flat(await self.daemon("GET", "/api/tree")))

    async def truth(self, entity: str, view: str, api: str = "books") -> AsyncIterator[bytes]:
        """The sandbox's living records of one entity, a JSON document each; view is `list`, `detail` or `ids`."""
        path = f"{self._stage.sandbox.control}/truth/{entity}?view={view}&api={api}"
        async with self._http.stream("GET", path) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield line.encode()

    async def _aim(self) -> None:
        """Point the sandbox's webhooks at the daemon; nothing is sent by an edit itself."""
        hook = {"url": f"{self._stage.daemon}/api/tds/zoho/webhooks", "entity": "*", "events": ["created", "edited"]}
        await self.control("PUT", "/webhooks", {"hooks": [hook]})

    async def _edit(self, entity: str, fresh: int, stale: int) -> tuple[list[str], list[str]]:
        """Edit `fresh` records; name `stale` others that stay as they are."""
        answer = await self.control("POST", "/edit", {"entity": entity, "count": fresh, "stamp": "next"})
        edited = [record["id"] for record in answer["records"]]
        others: list[str] = []
        if stale:
            taken = set(edited)
            async for line in self.truth(entity, "ids"):
                identity = msgspec.json.decode(line)["id"]
                if identity not in taken:
                    others.append(identity)
                if len(others) == stale:
                    break
        return edited, others

    async def _tell(self, entity: str, ids: Sequence[str]) -> None:
        """Announce edits; some of one kind are announced twice, the second right after the first."""
        twice = REPEATED[1] if entity == REPEATED[0] else 0
        await self._send(entity, ids[:twice], "current", times=2)
        await self._send(entity, ids[twice:], "current")

    async def _send(self, entity: str, ids: Sequence[str], variant: str, *, times: int = 1) -> None:
        if ids:
            order = {"entity": entity, "ids": list(ids), "event": "edited", "variant": variant, "times": times}
            await self.control("POST", "/webhooks/send", order)

    async def _poison(self, entity: str, count: int) -> None:
        order = {"entity": entity, "count": count, "event": "edited", "variant": "unknown_id"}
        await self.control("POST", "/webhooks/send", order)

    async def _answers(self) -> Sent:
        deliveries = (await self.control("GET", "/webhooks/deliveries?limit=1000"))["deliveries"]
        statuses = [int(delivery["status"]) for delivery in deliveries]
        return Sent(
            sent=len(statuses),
            acknowledged=sum(httpx2.codes.is_success(status) for status in statuses),
            refused=statuses.count(httpx2.codes.UNAUTHORIZED),
            duplicate=sum(bool(_answer(delivery).get("duplicate")) for delivery in deliveries),
        )

    async def _path(self, name: str) -> str:
        for row in _flat(await self.daemon("GET", "/api/tree")):
            if row["name"] == name:
                return str(row["path"])
        raise PlayFailed(f"no actor is called {name}")


def _answer(delivery: dict[str, Any]) -> dict[str, Any]:
    answer = delivery.get("answer") or "{}"
    parsed = msgspec.json.decode(answer) if isinstance(answer, str) else answer
    return parsed if isinstance(parsed, dict) else {}


def _flat(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """A snapshot of the tree as rows, parents first."""
    return [tree, *(row for child in tree.get("children", ()) for row in _flat(child))]


def _checked(answer: httpx2.Response) -> Any:
    if not answer.is_success:
        raise PlayFailed(f"{answer.request.method} {answer.request.url} answered {answer.status_code}: {answer.text}")
    return msgspec.json.decode(answer.content) if answer.content else None


async def _until(seconds: float, what: str) -> AsyncIterator[float]:
    """Yield the seconds that have passed, five times a second, until the caller stops asking.

    Raises:
        PlayFailed: the time is over.
    """
    began = anyio.current_time()
    while (passed := anyio.current_time() - began) < seconds:
        yield passed
        await anyio.sleep(0.2)
    raise PlayFailed(f"{what} was not done within {seconds:.0f} s")
