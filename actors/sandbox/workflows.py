"""Workflow rules: which webhooks hear of a change, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from actors.sandbox.documents import Documents
from actors.sandbox.drawers import Drawers
from actors.sandbox.kinds import Kind
from actors.sandbox.options import Switches
from actors.sandbox.shapes import Document
from actors.sandbox.webhooks import EVENTS, Hook, Post
from actors.sandbox.world import Past, World

RULES = {
    "created_or_edited": ("created", "edited"),
    "created": ("created",),
    "edited": ("edited",),
    "deleted": ("deleted",),
}


class Workflows:
    """The hooks set by the control API and those set up through `/settings/webhooks` and `/settings/workflows`."""

    def __init__(
        self, world: World, documents: Documents, post: Post, drawers: Drawers, switches: Callable[[], Switches]
    ) -> None:
        self._world = world
        self._documents = documents
        self._post = post
        self._drawers = drawers
        self._switches = switches
        self.hooks: list[Hook] = []
        self._settings: list[Hook] = []
        drawers.on_write.append(self._read_settings)

    @property
    def all(self) -> list[Hook]:
        """Every hook that is in force."""
        return [*self.hooks, *self._settings]

    # --- set up through the API

    def _read_settings(self, module: str) -> None:
        if module not in {"webhooks", "workflows"}:
            return
        actions = {str(row.get("webhook_id")): row for row in self._drawers.rows("webhooks")}
        self._settings = [
            _hook(actions[str(action["action_id"])], rule)
            for rule in self._drawers.rows("workflows")
            if rule.get("status") != "inactive"
            for action in _documents(rule.get("instant_actions"))
            if action.get("action_type") == "webhook" and str(action.get("action_id")) in actions
        ]

    # --- telling

    def entity_of(self, module: str, index: int) -> str:
        """The project's name of the entity: contacts are customers or vendors."""
        if module == "contacts":
            return self._world.contact_type(index)
        return self._world.kind(module).entity

    def _hears(self, hook: Hook, kind: Kind, entity: str, event: str) -> bool:
        if event not in hook.events:
            return False
        wanted = [hook.entity] if isinstance(hook.entity, str) else hook.entity
        known = {"*", entity, kind.module, kind.module.removesuffix("s"), kind.singular, kind.webhook_key}
        return any(name in known for name in wanted)

    def heard(self, module: str, index: int, event: str, *, past: Past | None = None) -> list[int]:
        """Tell every hook that asked for it; users, price lists and branches have no webhooks at all."""
        kind = self._world.kind(module)
        if not kind.webhook_key or not self.all:
            return []
        entity = self.entity_of(module, index)
        hooks = [hook for hook in self.all if self._hears(hook, kind, entity, event)]
        if not hooks:
            return []
        body = self.deleted_body(kind, index) if event == "deleted" else self._documents.webhook(module, index, past)
        return [self._post.post(hook, entity, kind.record_id(index), event, body) for hook in hooks]

    def deleted_body(self, kind: Kind, index: int) -> bytes:
        """What a delete webhook carries: an open point."""
        record_id = kind.record_id(index)
        match self._switches().delete_body:
            case "snapshot":
                return self._documents.webhook(kind.module, index)
            case "empty":
                return msgspec.json.encode({kind.webhook_key: {}})
            case "id_and_number" if kind.number_key:
                number = self._world.facts(kind.module, index)[kind.number_key]
                return msgspec.json.encode({kind.webhook_key: {kind.id_key: record_id, kind.number_key: number}})
            case _:
                return msgspec.json.encode({kind.webhook_key: {kind.id_key: record_id}})

    # --- sent on request

    def send(self, module: str, index: int, *, event: str, variant: str, url: str | None) -> list[int]:
        """One record to the hooks (or to one address), as it is or spoilt; answers the deliveries' numbers."""
        kind = self._world.kind(module)
        entity = self.entity_of(module, index)
        hooks = [Hook(url=url)] if url else [hook for hook in self.all if self._hears(hook, kind, entity, event)]
        signed = {"unsigned": "no", "bad_signature": "badly"}.get(variant, "yes")
        body = self._variant(kind, index, event, variant)
        return [self._post.post(hook, entity, kind.record_id(index), event, body, signed=signed) for hook in hooks]

    def _variant(self, kind: Kind, index: int, event: str, variant: str) -> bytes:
        key = kind.webhook_key or kind.singular
        match variant:
            case "older":
                return self._documents.webhook(kind.module, index, self.older(kind.module, index))
            case "id_only":
                return msgspec.json.encode({key: {kind.id_key: kind.record_id(index)}})
            case "unknown_id":  # with a whole document it would be a new record, which nobody could refuse
                return msgspec.json.encode({key: {kind.id_key: kind.record_id(900_000_000 + index)}})
            case "garbage":
                return b'{"' + key.encode() + b'": {"name": "\\u0000 \xff", "rate": 1e999999, '
            case _ if event == "deleted":
                return self.deleted_body(kind, index)
            case _:
                return self._documents.webhook(kind.module, index)

    def older(self, module: str, index: int) -> Past:
        """The version before this one, or one made up: a minute older, with other values."""
        known = self._world.past(module, index, -1)
        if known is not None:
            return known
        facts = self._world.facts(module, index)
        patch = self._world.touch(module, index)
        return Past(0, facts["modified"] - 60, patch, {}, blank=False)

    def names(self) -> Iterator[str]:
        """The modules that have webhooks."""
        return (kind.module for kind in self._world.catalogue.kinds if kind.webhook_key)


def _documents(rows: object) -> list[Document]:
    """What of a written list are documents at all."""
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _pairs(rows: object) -> dict[str, str]:
    return {
        str(row.get("param_name") or row.get("name")): str(row.get("param_value") or row.get("value") or "")
        for row in _documents(rows)
    }


def _hook(action: Document, rule: Document) -> Hook:
    """A webhook action and the rule that fires it, as one hook."""
    form = str(action.get("body_type", "")) in {"application/x-www-form-urlencoded", "form_data", "form"}
    old = action.get("is_new_response_format") is False
    return Hook(
        url=str(action.get("url", "")), entity=str(rule.get("entity") or action.get("entity") or "*").replace(" ", ""),
        events=RULES.get(str(rule.get("rule_type", "")), EVENTS), secret=str(action.get("secret") or ""),
        shape="jsonstring" if old else "form" if form else "json", query=_pairs(action.get("query_parameters")),
        headers=_pairs(action.get("headers")), method=str(action.get("method") or "POST").upper(),
        name=str(action.get("webhook_name", "")),
    )  # fmt: skip
