"""Control calls about webhooks: where they go, how they are spoilt, what became of them."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.sandbox.control_records import Records, Wrong, json_response
from actors.sandbox.stage import Stage
from actors.sandbox.webhooks import Chaos, Hook


class Hooks(Struct, frozen=True, forbid_unknown_fields=True):
    """The hooks that shall be in force."""

    hooks: list[Hook]


class Named(Struct, frozen=True):
    """A record by entity and id; more keys are welcome, so that answers of other calls can be passed on."""

    entity: str
    id: str


class Sending(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to send: records as listed, or chosen as for an edit."""

    records: list[Named] = []
    entity: str = ""
    ids: list[str] | None = None
    count: int | None = None
    random: int | None = None
    event: Literal["created", "edited", "deleted"] = "edited"
    variant: Literal["current", "older", "unsigned", "bad_signature", "id_only", "unknown_id", "garbage"] = "current"
    times: int = 1
    url: str | None = None


class Drain(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait for the last delivery, in seconds."""

    timeout: float = 30.0


class Deliveries:
    """The control calls about webhooks."""

    def __init__(self, stage: Stage, records: Records) -> None:
        self._stage = stage
        self._records = records
        self.routes = [
            Route("/sandbox/webhooks", self.hooks, methods=["GET", "PUT", "POST", "DELETE"]),
            Route("/sandbox/webhooks/send", self.send, methods=["POST"]),
            Route("/sandbox/webhooks/chaos", self.chaos, methods=["POST"]),
            Route("/sandbox/webhooks/statistics", self.statistics),
            Route("/sandbox/webhooks/deliveries", self.deliveries),
            Route("/sandbox/webhooks/drain", self.drain, methods=["POST"]),
        ]

    def state(self) -> dict[str, object]:
        """Hooks, chaos and statistics."""
        stage = self._stage
        return {"hooks": stage.workflows.all, "chaos": stage.post.chaos, "statistics": stage.post.statistics()}

    async def hooks(self, request: Request) -> Response:
        workflows = self._stage.workflows
        match request.method:
            case "PUT":
                workflows.hooks = msgspec.json.decode(await request.body(), type=Hooks).hooks
            case "POST":
                workflows.hooks = [*workflows.hooks, msgspec.json.decode(await request.body(), type=Hook)]
            case "DELETE":
                workflows.hooks = []
        return json_response(self.state())

    async def send(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Sending)
        chosen = [(self._records.kind(named.entity), named.id) for named in asked.records]
        targets = [(kind.module, self._stage.world.catalogue.index(kind, record_id)) for kind, record_id in chosen]
        if asked.entity:
            kind = self._records.kind(asked.entity)
            found = self._records.chosen(asked.entity, ids=asked.ids, count=asked.count, some=asked.random)
            targets += [(kind.module, index) for index in found]
        if any(index < 0 for _, index in targets):
            raise Wrong("an id belongs to no record of its entity")
        numbers: list[int] = []
        for _ in range(asked.times):
            for module, index in targets:
                numbers += self._stage.workflows.send(
                    module, index, event=asked.event, variant=asked.variant, url=asked.url
                )
        return json_response({"queued": len(numbers), "deliveries": numbers})

    async def chaos(self, request: Request) -> Response:
        self._stage.post.spoil(msgspec.json.decode(await request.body(), type=Chaos))
        return json_response(self._stage.post.chaos)

    async def statistics(self, _request: Request) -> Response:
        return json_response(self._stage.post.statistics())

    async def deliveries(self, request: Request) -> Response:
        limit = int(request.query_params.get("limit", "100"))
        letters = list(self._stage.post.letters)[-limit:]
        shown = [
            {"number": letter.number, "url": letter.hook.url, "entity": letter.entity, "id": letter.record_id,
             "event": letter.event, "signed": letter.signed, "tries": letter.tries, "status": letter.status,
              "answer": letter.answer,              "milliseconds": round(letter.milliseconds, 2)}
            for letter in reversed(letters)
        ]  # fmt: skip
        return json_response({"deliveries": shown})

    async def drain(self, request: Request) -> Response:
        body = await request.body()
        await self._stage.post.drain(msgspec.json.decode(body or b"{}", type=Drain).timeout)
        return json_response(self._stage.post.statistics())
