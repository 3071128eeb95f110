"""The sandbox as an ASGI application: dispatches by path without a router, because lists and details must be quick."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from actors.sandbox.answers import RECORDED, UNAUTHORIZED, Answer, Refused, failure, unknown_path
from actors.sandbox.faults import Fault, Planted
from actors.sandbox.oauth import allowed
from actors.sandbox.options import ORGANIZATION_ID
from actors.sandbox.request import Call, parse_query, split_path
from actors.sandbox.spoiling import (
    BROKEN,
    NOT_DONE,
    SHIFTS,
    Headers,
    Receive,
    Scope,
    Send,
    cancel_when_gone,
    delay,
    replaced,
    send_broken,
)
from actors.sandbox.stage import Stage

MOST_BODY = 16 << 20
BODY = frozenset({b"content-length", b"transfer-encoding"})
REJECTED = {57: UNAUTHORIZED, 14: "Invalid value passed for authtoken."}


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
            struck = stage.faults.struck(path, None, "POST")
            answer = stage.accounts.answer(path, scope["query_string"], dict(scope["headers"]), body)
            for planted in struck:
                await delay(planted)
            if struck:
                await self._send_spoilt([planted.fault for planted in struck], answer, send, ())
                return
        await self._send(send, answer, ())

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        stage = self._stage
        found, headers = split_path(scope["path"]), dict(scope["headers"])
        # A body must be read, whoever sends it: one left unread resets the connection under its sender.
        body = await _read(receive) if scope["method"] != "GET" or not BODY.isdisjoint(headers) else b""
        if found is None:
            await self._send(send, unknown_path().answer, ())
            return
        api, parts = found
        method: str = scope["method"]
        query = parse_query(scope["query_string"])
        call = Call(method=method, api=api, parts=parts, query=query, headers=headers, body=body)
        stage.calls[call.endpoint] += 1
        stage.limits.in_flight += 1
        try:
            await self._answered(call, scope["path"], receive, send)
        finally:
            stage.limits.in_flight -= 1

    async def _answered(self, call: Call, path: str, receive: Receive, send: Send) -> None:
        stage = self._stage
        if stage.latency:
            await anyio.sleep(stage.latency)
        scoped = call.parts[:1] != ("organizations",)
        refusal = stage.limits.refuse(call.api, scoped=scoped)
        if refusal is not None:
            if stage.switches.throttle_as_200 and b'"code":43' in refusal.body:
                refusal = Answer(200, refusal.body.replace(b'"code":43', b'"code":"43"'), refusal.headers)
            bare = not scoped or b'"code":43' in refusal.body
            await self._send(send, refusal, () if bare else stage.limits.headers(call.api))
            return
        headers = stage.limits.headers(call.api) if scoped else ()
        struck = stage.faults.struck(path, call, call.method)
        if not struck:
            await self._send(send, self._authorized(call), headers)
            return
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when_gone, receive, group.cancel_scope)
            await self._spoilt(call, struck, send, headers)
            group.cancel_scope.cancel()

    async def _spoilt(self, call: Call, struck: list[Planted], send: Send, headers: Headers) -> None:
        stage = self._stage
        for planted in struck:
            await delay(planted)
        faults = [planted.fault for planted in struck]
        kinds = {fault.kind for fault in faults}
        if "revoke" in kinds:
            stage.accounts.revoke_access()
        if kinds & NOT_DONE:
            answer = Answer(200, b"")
        else:
            stage.documents.stale = "stale" in kinds
            answer = self._authorized(call, shift=sum(SHIFTS.get(fault.kind, 0) for fault in faults))
            stage.documents.stale = False
        await self._send_spoilt(faults, answer, send, headers)

    async def _send_spoilt(self, faults: list[Fault], answer: Answer, send: Send, headers: Headers) -> None:
        answer = replaced(faults, answer)
        broken = next((fault for fault in faults if fault.kind in BROKEN), None)
        if broken is None:
            await self._send(send, answer, headers)
            return
        self._stage.statuses[f"{answer.status} {broken.kind}"] += 1
        await send_broken(broken, answer, send, (*RECORDED, *headers))

    # --- answering

    def _authorized(self, call: Call, *, shift: int = 0) -> Answer:
        stage = self._stage
        header = call.headers.get(b"authorization", b"")
        token = stage.accounts.holder(header, bearer=stage.switches.bearer_accepted)
        if token is None:
            if not header and "authtoken" in call.query:  # what clients sent before OAuth
                return failure(401, 14, REJECTED[14])
            return failure(401, stage.switches.expired_token_code, REJECTED[stage.switches.expired_token_code])
        kind = stage.world.catalogue.named(call.parts[0]) if call.parts else None
        areas = {kind.scope, kind.module} if kind else {"settings"}
        if not allowed(token, call.api, areas, call.method):
            return failure(401, 57, UNAUTHORIZED)
        organization = call.organization
        if organization and organization != ORGANIZATION_ID and call.parts[:1] != ("organizations",):
            return failure(400, 6041, f"This user is not associated with the CompanyID/CompanyName:{organization}.")
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
