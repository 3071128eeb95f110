"""How a planted failure spoils an answer: late, other, broken off, in drops, or without end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import anyio

from actors.sandbox.answers import BLOCKED, BUSY, DAY, MINUTE, Answer, failure
from actors.sandbox.faults import Fault, Planted

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

HARD_BLOCK = 43
THROTTLES = {HARD_BLOCK: BLOCKED, 44: MINUTE, 45: DAY.format(limit=1000), 1070: BUSY}
HTML = b"<!DOCTYPE html><html><head><title>Zoho</title></head><body><h1>We will be back shortly</h1></body></html>"
FILLER = b" " * 65536
NOT_DONE = frozenset({"status", "throttle"})
BROKEN = frozenset({"truncate", "close", "slow", "huge"})
SHIFTS = {"repeat_page": -1, "skip_page": 1}


async def cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """End a spoilt answer whose client has left: nobody waits for it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def delay(planted: Planted) -> None:
    """Wait as the fault says; a hanging call goes on when its fault is removed."""
    fault = planted.fault
    if fault.kind == "latency":
        await anyio.sleep(fault.seconds if fault.seconds is not None else 1.0)
    elif fault.kind == "hang":
        with anyio.move_on_after(fault.seconds if fault.seconds is not None else 3600.0):
            await planted.removed.wait()


def replaced(faults: Sequence[Fault], answer: Answer) -> Answer:
    """What is answered instead; the last fault that replaces wins."""
    for fault in faults:
        match fault.kind:
            case "status":
                extra = tuple((name.lower().encode(), value.encode()) for name, value in fault.headers.items())
                answer = failure(fault.status, fault.code, fault.message, extra)
            case "throttle":
                code = fault.code if fault.code in THROTTLES else 44
                answer = failure(429, code, THROTTLES[code], ((b"retry-after", b"3600"),) if code == HARD_BLOCK else ())
            case "html":
                answer = Answer(200, HTML, (), b"text/html;charset=UTF-8")
            case "garbage":
                answer = Answer(200, b'{"code":0,\xff\xfe\x00 not json')
            case "empty":
                answer = Answer(200, b"")
            case _:
                pass
    return answer


async def send_broken(fault: Fault, answer: Answer, send: Send, headers: Headers) -> None:
    """Promise a body, and send half of it, none of it, drops of it, or far too much."""
    size = len(answer.body)
    promised = (fault.bytes or 2 << 30) if fault.kind == "huge" else size
    start = ((b"content-type", answer.content_type), (b"content-length", b"%d" % promised), *headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": start})
    match fault.kind:
        case "slow":
            await _drip(fault, answer.body, send)
            return
        case "huge":
            for _ in range(0, promised, len(FILLER)):
                await send({"type": "http.response.body", "body": FILLER, "more_body": True})
        case "truncate":
            part = answer.body[: fault.bytes or size // 2]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        case _:
            pass
    raise ConnectionAbortedError(f"planted: {fault.kind}")


async def _drip(fault: Fault, body: bytes, send: Send) -> None:
    step = fault.bytes or 1
    for at in range(0, len(body), step):
        await send({"type": "http.response.body", "body": body[at : at + step], "more_body": at + step < len(body)})
        await anyio.sleep(fault.seconds if fault.seconds is not None else 1.0)
