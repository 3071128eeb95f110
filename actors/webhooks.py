"""Verify, name, store, acknowledge: a 2xx here means that the delivery is on disk.

A delivery that is not ours is refused with one answer for all reasons and leaves nothing behind. Everything else is
stored, whether it can be understood or not, and answered after its commit; when it cannot be stored now, the sender is
asked to come again, never told that all is well.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec
from msgspec import Struct
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actors.zoho.naming import Names, identifier, is_deletion
from actors.zoho.signature import Encoding, Verifier
from tds_runtime import logs, problem
from tds_runtime.clients import Clients
from tds_runtime.errors import NoAnswer, Outage, Undeliverable
from tds_runtime.gate import BODY
from tds_runtime.intake import Delivery, Receipt, Store
from tds_runtime.mailbox import CORRELATION
from tds_runtime.metrics import Metrics
from tds_runtime.values import Duration, Secret

SHORTEST_SECRET = 12
CATCH_ALL = "/api/tds/zoho/webhooks"
PREFIX = "/api/tds/webhooks"
DELETION = "/delete"
"""Below a route: the record is said to be gone. The source signs no path, so this only makes the daemon ask."""
METHODS = ("POST", "PUT", "DELETE")
PATHS = {
    f"{PREFIX}/{{segment}}": "A change of one kind of record",
    f"{PREFIX}/{{segment}}{DELETION}": "A record of one kind is gone",
    CATCH_ALL: "A change of any record",
    CATCH_ALL + DELETION: "A record of any kind is gone",
}

Header = tuple[bytes, bytes]

_JSON: Header = (b"content-type", b"application/json")
_PROBLEM: Header = (b"content-type", problem.MEDIA_TYPE.encode())
_UNSIGNED = problem.document(401, "The signature is missing or wrong.")
_UNKNOWN_ROUTE = problem.document(404)
_TOO_OFTEN = problem.document(429, "Too many requests came from here.")
_UNAVAILABLE = problem.document(503, "The delivery could not be stored now. Send it again.")
_encode = msgspec.json.Encoder().encode


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[webhooks]`.

    secrets: what the source signs with; two while one replaces the other. With none, every delivery is refused.
    tokens: static tokens for senders that cannot sign, in `token_header` or in the query parameter `token_parameter`.
    header, encoding: where the signature stands and how it is spelled.
    parameter: the query parameter that it stands in where the sender sets no headers; no part of what is signed.
    event_header: where a sender puts its own number of a delivery, if it has one.
    event_name_header: where a sender says what happened; nobody signs it, so a deletion told there is asked about.
    timeout: how long a delivery may wait for its commit before its sender is asked to come again.
    retry_after: what the sender is told then.
    """

    secrets: tuple[Secret, ...] = ()
    tokens: tuple[Secret, ...] = ()
    header: str = "X-Zoho-Webhook-Signature"
    parameter: str = ""
    encoding: Encoding = "any"
    token_header: str = "X-Webhook-Token"  # noqa: S105 - the header's name
    token_parameter: str = "token"  # noqa: S105 - the parameter's name
    event_header: str = "X-Event-Id"
    event_name_header: str = "X-Event"
    source: str = "zoho"
    timeout: Duration = Duration("10s")
    retry_after: Duration = Duration("5s")

    def __post_init__(self) -> None:
        if any(len(secret) < SHORTEST_SECRET for secret in (*self.secrets, *self.tokens)):
            raise ValueError(f"a secret needs at least {SHORTEST_SECRET} characters")

    def verifier(self) -> Verifier:
        """The live secrets, ready to judge."""
        return Verifier(
            secrets=self.secrets,
            tokens=self.tokens,
            header=self.header,
            parameter=self.parameter,
            encoding=self.encoding,
            token_header=self.token_header,
            token_parameter=self.token_parameter,
        )


class Writer(Protocol):
    """Who stores: a reference to `intake.writer`."""

    async def ask(self, question: Store, timeout: float = ...) -> Receipt: ...  # noqa: ASYNC109 - the engine's signature


class Received(Struct, frozen=True, kw_only=True):
    """The answer to a stored delivery."""

    status: Literal["received"] = "received"
    event_id: str
    duplicate: bool


def routes(
    writer: Writer,
    names: Names,
    options: Options,
    metrics: Metrics,
    *,
    clients: Clients | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> list[Route]:
    """The public routes: one for each kind of record, its deletions below it, and one for all."""
    receiver = Receiver(writer, names, options, metrics, clients=clients or Clients(), new_id=new_id)
    return [Route(path, receiver, methods=METHODS, name="webhook") for path in PATHS]


class Receiver:
    """The endpoint of all public routes, an ASGI application without Starlette's request and response in its way."""

    def __init__(
        self,
        writer: Writer,
        names: Names,
        options: Options,
        metrics: Metrics,
        *,
        clients: Clients,
        new_id: Callable[[], str],
    ) -> None:
        self._writer, self._names, self._options, self._metrics = writer, names, options, metrics
        self._clients = clients
        self._verifier = options.verifier()
        self._event_header = options.event_header.lower().encode()
        self._event_name_header = options.event_name_header.lower().encode()
        self._retry_after: Header = (b"retry-after", b"%d" % max(1, round(options.retry_after)))
        self._new_id = new_id
        self._log = logs.get("webhooks")

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        status, headers, body = await self._answer(scope)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> tuple[int, list[Header], bytes]:
        segment = scope["path_params"].get("segment", "")
        if segment and segment not in self._names.segments:
            return 404, [_PROBLEM], _UNKNOWN_ROUTE
        if wait := self._clients.admit(scope):
            self._count(segment, "limited")
            return 429, [_PROBLEM, (b"retry-after", b"%d" % math.ceil(wait))], _TOO_OFTEN
        headers, query, body = scope["headers"], scope["query_string"], scope[BODY]
        content_type = _header(headers, b"content-type")
        if not self._verifier.verify(headers, query, content_type, body):
            self._count(segment, "refused")
            self._log.warning("webhook.refused", route=segment, client=(scope["client"] or ("",))[0], size=len(body))
            return 401, [_PROBLEM], _UNSIGNED
        return await self._store(self._delivery(scope, segment, content_type.decode("latin-1")))

    def _delivery(self, scope: Scope, segment: str, content_type: str) -> Delivery:
        query, body = self._verifier.public_query(scope["query_string"]), scope[BODY]
        named = self._names.name(segment, query, content_type, body, deleted=self._hints_deletion(scope))
        event_id = identifier(_header(scope["headers"], self._event_header).decode("latin-1")) or named.event_id
        return Delivery(
            source=self._options.source,
            entity_type=named.entity,
            source_entity_id=named.record,
            operation=named.operation,
            modified_at=named.modified_at,
            body=body,
            content_type=content_type,
            query=query,
            correlation_id=self._new_id(),
            event_id=event_id,
            variant=named.variant,
        )

    def _hints_deletion(self, scope: Scope) -> bool:
        """Whether method, path or header say that the record is gone: nothing that is signed."""
        event = _header(scope["headers"], self._event_name_header).decode("latin-1")
        return scope["method"] == "DELETE" or scope["path"].endswith(DELETION) or is_deletion(event)

    async def _store(self, delivery: Delivery) -> tuple[int, list[Header], bytes]:
        CORRELATION.set(delivery.correlation_id)
        correlation = (b"x-correlation-id", delivery.correlation_id.encode())
        try:
            receipt = await self._writer.ask(Store(delivery), timeout=self._options.timeout)
        except (Outage, NoAnswer, Undeliverable) as error:
            self._count(delivery.entity_type, "unavailable")
            self._log.warning(
                "webhook.unavailable",
                correlation_id=delivery.correlation_id,
                entity=delivery.entity_type,
                record=delivery.source_entity_id,
                error=type(error).__name__,
                reason=str(error),
            )
            return 503, [_PROBLEM, self._retry_after, correlation], _UNAVAILABLE
        self._count(delivery.entity_type, _outcome(delivery, receipt))
        answer = Received(event_id=receipt.event_id, duplicate=receipt.duplicate)
        return 200, [_JSON, correlation], _encode(answer)

    def _count(self, entity: str, outcome: str) -> None:
        self._metrics.webhooks.labels(self._metrics.entity(entity), outcome).inc()


def _outcome(delivery: Delivery, receipt: Receipt) -> str:
    if receipt.duplicate:
        return "duplicate"
    return "stored" if delivery.source_entity_id else "unnamed"


def _header(headers: Iterable[Header], wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")
