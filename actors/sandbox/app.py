"""The sandbox as an ASGI application: dispatches by path without a router, because lists and details must be quick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from actors.sandbox.answers import (
    BLOCKED,
    BUSY,
    DAY,
    JSON,
    MINUTE,
    RECORDED,
    UNAUTHORIZED,
    Answer,
    Refused,
    failure,
    unknown_path,
)
from actors.sandbox.faults import Fault
from actors.sandbox.oauth import allowed
from actors.sandbox.options import ORGANIZATION_ID
from actors.sandbox.request import Call, parse_query, split_path
from actors.sandbox.stage import Stage

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
MOST_BODY = 16 << 20
REJECTED = {57: UNAUTHORIZED, 14: "Invalid value passed for authtoken."}
HARD_BLOCK = 43
THROTTLES = {43: BLOCKED, 44: MINUTE, 45: DAY.format(limit=1000), 1070: BUSY}
HTML = b"<!DOCTYPE html><html><head><title>Zoho</title></head><body><h1>We will be back shortly</h1></body></html>"
FILLER = b" " * 65536


class App:
    """Accounts, Books, Inventory and, below `/sandbox`, the control API."""

    def __init__(self, stage: Stage, control: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._stage = stage
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith("/sandbox"):
            await self._control(scope, receive, send)
        elif path.startswith("/oauth/v2/token"):
            await self._accounts(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    async def _accounts(self, scope: Scope, receive: Receive, send: Send) -> None:
        stage, path = self._stage, scope["path"]
        stage.calls[f"{scope['method']} {path}"] += 1
        body = await _read(receive)
        if scope["method"] != "POST":
            answer = failure(405, 37, f"The HTTP method {scope['method']} is not allowed for the requested resource")
        else:
            struck = [planted.fault for planted in stage.faults.struck(path, None, "POST")]
            answer = stage.accounts.answer(path, scope["query_string"], dict(scope["headers"]), body)
            if struck:
                await self._spoilt(struck, answer, send)
                return
        await self._send(send, answer, ())

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        stage = self._stage
        found = split_path(scope["path"])
        if found is None:
            await self._send(send, unknown_path().answer, ())
            return
        api, parts = found
        method: str = scope["method"]
        query, headers = parse_query(scope["query_string"]), dict(scope["headers"])
        call = Call(method=method, api=api, parts=parts, query=query, headers=headers)
        stage.calls[call.endpoint] += 1
        if method != "GET":
            call.body = await _read(receive)
        stage.limits.in_flight += 1
        try:
            await self._answered(call, scope["path"], send)
        finally:
            stage.limits.in_flight -= 1

    async def _answered(self, call: Call, path: str, send: Send) -> None:
        stage = self._stage
        if stage.latency:
            await anyio.sleep(stage.latency)
        scoped = call.parts[:1] != ("organizations",)
        refusal = stage.limits.refuse(call.api, scoped=scoped)
        if refusal is not None:
            if stage.switches.throttle_as_200 and b'"code":43' in refusal.body:
                refusal = Answer(200, refusal.body.replace(b'"code":43', b'"code":"43"'))
            bare = not scoped or b'"code":43' in refusal.body
            await self._send(send, refusal, () if bare else stage.limits.headers(call.api))
            return
        struck = stage.faults.struck(path, call, call.method)
        for planted in struck:
            await self._delay(planted.fault, planted.removed)
        answer = self._authorized(call, [planted.fault for planted in struck])
        headers = stage.limits.headers(call.api) if scoped else ()
        if struck:
            await self._spoilt([planted.fault for planted in struck], answer, send, headers)
        else:
            await self._send(send, answer, headers)

    # --- answering

    def _authorized(self, call: Call, faults: list[Fault]) -> Answer:
        stage = self._stage
        if any(fault.kind == "revoke" for fault in faults):
            stage.accounts.revoke_access()
        token = stage.accounts.holder(call.headers.get(b"authorization", b""), bearer=stage.switches.bearer_accepted)
        if token is None:
            return failure(401, stage.switches.expired_token_code, REJECTED[stage.switches.expired_token_code])
        kind = stage.world.catalogue.named(call.parts[0]) if call.parts else None
        areas = {kind.scope, kind.module} if kind else {"settings"}
        if not allowed(token, call.api, areas, call.method):
            return failure(401, 57, UNAUTHORIZED)
        organization = call.query.get("organization_id")
        if organization and organization != ORGANIZATION_ID and call.parts[:1] != ("organizations",):
            return failure(400, 6041, f"This user is not associated with the CompanyID/CompanyName:{organization}.")
        shift = sum({"repeat_page": -1, "skip_page": 1}.get(fault.kind, 0) for fault in faults)
        try:
            return stage.reads.answer(call, shift=shift) if call.method == "GET" else self._write(call)
        except Refused as refused:
            return refused.answer

    def _write(self, call: Call) -> Answer:
        if call.method not in {"POST", "PUT", "DELETE"}:
            return failure(405, 37, f"The HTTP method {call.method} is not allowed for the requested resource")
        return self._stage.writes.answer(call)

    async def _send(self, send: Send, answer: Answer, headers: Headers) -> None:
        self._stage.statuses[str(answer.status)] += 1
        own = {name for name, _ in answer.headers}
        recorded = tuple(pair for pair in RECORDED if pair[0] not in own) if own else RECORDED
        length = ((b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body)))
        start = (*length, *recorded, *headers, *answer.headers)
        await send({"type": "http.response.start", "status": answer.status, "headers": start})
        await send({"type": "http.response.body", "body": answer.body})

    # --- spoiling

    async def _delay(self, fault: Fault, removed: anyio.Event) -> None:
        if fault.kind == "latency":
            await anyio.sleep(fault.seconds if fault.seconds is not None else 1.0)
        elif fault.kind == "hang":
            with anyio.move_on_after(fault.seconds if fault.seconds is not None else 3600.0):
                await removed.wait()

    async def _spoilt(self, faults: list[Fault], answer: Answer, send: Send, headers: Headers = ()) -> None:
        for fault in faults:
            match fault.kind:
                case "status":
                    extra = tuple((name.lower().encode(), value.encode()) for name, value in fault.headers.items())
                    answer = failure(fault.status, fault.code, fault.message, extra)
                case "throttle":
                    code = fault.code if fault.code in THROTTLES else 44
                    retry = ((b"retry-after", b"3600"),) if code == HARD_BLOCK else ()
                    answer = failure(429, code, THROTTLES[code], retry)
                case "html":
                    answer = Answer(200, HTML, (), b"text/html;charset=UTF-8")
                case "garbage":
                    answer = Answer(200, b'{"code":0,\xff\xfe\x00 not json', (), JSON)
                case "empty":
                    answer = Answer(200, b"")
                case "truncate" | "close" | "slow" | "huge":
                    await self._broken(fault, answer, send, headers)
                    return
                case _:
                    pass
        await self._send(send, answer, headers)

    async def _broken(self, fault: Fault, answer: Answer, send: Send, headers: Headers) -> None:
        """Promise a body, and send half of it, none of it, drops of it, or far too much."""
        self._stage.statuses[f"{answer.status} {fault.kind}"] += 1
        size = len(answer.body)
        promised = (fault.bytes or 2 << 30) if fault.kind == "huge" else size
        start = ((b"content-type", answer.content_type), (b"content-length", b"%d" % promised), *RECORDED, *headers)
        await send({"type": "http.response.start", "status": answer.status, "headers": start})
        if fault.kind == "slow":
            step = fault.bytes or 1
            for at in range(0, size, step):
                drop = answer.body[at : at + step]
                await send({"type": "http.response.body", "body": drop, "more_body": at + step < size})
                await anyio.sleep(fault.seconds if fault.seconds is not None else 1.0)
            return
        if fault.kind == "huge":
            for _ in range(0, promised, len(FILLER)):
                await send({"type": "http.response.body", "body": FILLER, "more_body": True})
        elif fault.kind == "truncate":
            await send(
                {"type": "http.response.body", "body": answer.body[: fault.bytes or size // 2], "more_body": True}
            )
        raise ConnectionAbortedError(f"planted: {fault.kind}")


async def _read(receive: Receive) -> bytes:
    """The whole request body, up to 16 MiB."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if not message.get("more_body") or size > MOST_BODY:
            return b"".join(chunks)


def counted(calls: Counter[str]) -> dict[str, int]:
    """Calls by endpoint, the most frequent first."""
    return dict(calls.most_common())
