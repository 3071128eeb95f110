"""Which webhooks and workflow rules the source should have, and what is missing or different of those that it has.

A rule hears of one kind of event of one module and fires one webhook. Modules without rules (users, price lists,
branches) are polled. Everything made here is found again by its name, and nothing else is ever touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from actors.zoho.hosts import Api
from actors.zoho.mapping import Webhook
from tds_runtime.errors import Error

LONGEST_NAME = 50
SHORTEST_SECRET, LONGEST_SECRET = 12, 50

Event = Literal["created_or_edited", "deleted"]


class Unsuitable(Error):
    """The source would not take this webhook."""


class Place(Protocol):
    """Where an entity's records come from, as far as its rules go."""

    @property
    def api(self) -> str: ...


class Mapped(Protocol):
    """An entity, as far as its rules go."""

    @property
    def name(self) -> str: ...
    @property
    def webhook(self) -> Webhook | None: ...
    @property
    def sources(self) -> Sequence[Place]: ...


class Routes(Struct, frozen=True, kw_only=True):
    """Where deliveries come in: `address` of the daemon, the routes of entities below `prefix`, the one for all."""

    address: str
    prefix: str
    catch_all: str
    deletion: str

    def of(self, webhook: Webhook) -> str:
        """The route of an entity's changes."""
        path = f"{self.prefix}/{webhook.paths[0]}" if webhook.paths else self.catch_all
        return self.address.rstrip("/") + path


class Hook(Struct, frozen=True, kw_only=True):
    """One rule with its webhook, as it should be; both bear the name."""

    name: str
    api: Api
    module: str
    event: Event
    url: str


class Action(Struct, frozen=True, kw_only=True):
    """A webhook as the source has it; `secret` is None or starred where it does not say it."""

    webhook_id: str
    webhook_name: str = ""
    entity: str = ""
    method: str = ""
    url: str = ""
    secret: str | None = None


class Fired(Struct, frozen=True):
    """What a rule does at once."""

    action_id: str
    action_type: str = ""


class Rule(Struct, frozen=True, kw_only=True):
    """A workflow rule as the source has it."""

    workflow_id: str
    workflow_name: str = ""
    entity: str = ""
    rule_type: str = ""
    status: str = "active"
    instant_actions: tuple[Fired, ...] = ()


class Standing(Struct, frozen=True, kw_only=True):
    """One hook and what there is of it.

    Attributes:
        wrong: What the webhook differs in, in words without values of secrets.
        amiss: The same of the rule.
    """

    hook: Hook
    action: Action | None
    rule: Rule | None
    wrong: tuple[str, ...] = ()
    amiss: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether nothing has to be done."""
        return self.action is not None and self.rule is not None and not (self.wrong or self.amiss)


def wanted(entities: Iterable[Mapped], routes: Routes) -> list[Hook]:
    """The hooks of all entities that can have some.

    A module that several entities share (contacts) tells its changes once, since the document says whose they are, and
    its deletions to each of them: those may bear the id alone, and the ones that do not know it do nothing.
    """
    hooks: list[Hook] = []
    told: set[str] = set()
    for entity in entities:
        for module in modules(entity):
            changed, deleted = _of_module(entity, module, routes)
            hooks += [deleted] if module in told else [changed, deleted]
            told.add(module)
    return hooks


def _of_module(entity: Mapped, module: str, routes: Routes) -> tuple[Hook, Hook]:
    assert entity.webhook is not None, "an entity without webhooks has no modules"
    label = f"tds {entity.webhook.paths[0] if entity.webhook.paths else entity.name}"
    label = label if len(modules(entity)) == 1 else f"{label} {module}"
    api: Api = "inventory" if entity.sources[0].api == "inventory" else "books"
    url = routes.of(entity.webhook)
    return (
        _hook(Hook(name=f"{label} changed", api=api, module=module, event="created_or_edited", url=url)),
        _hook(Hook(name=f"{label} deleted", api=api, module=module, event="deleted", url=url + routes.deletion)),
    )


def _hook(hook: Hook) -> Hook:
    if len(hook.name) > LONGEST_NAME:
        raise Unsuitable(f"{hook.name} has more than {LONGEST_NAME} characters; give the entity a shorter webhook path")
    return hook


def modules(entity: Mapped) -> list[str]:
    """The modules whose rules tell of this entity."""
    if entity.webhook is None:
        return []
    said = entity.webhook.modules
    return list(entity.webhook.keys) if said is None else said


def polled(entities: Iterable[Mapped]) -> list[str]:
    """The entities that no rule can tell of."""
    return [entity.name for entity in entities if not modules(entity)]


def checked_secret(secret: str) -> str:
    """The secret, when the source would take it: 12 to 50 letters and digits."""
    if not (SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET and secret.isascii() and secret.isalnum()):
        raise Unsuitable(f"a webhook's secret has {SHORTEST_SECRET} to {LONGEST_SECRET} letters and digits, no others")
    return secret


# --- what there is


def compared(hook: Hook, action: Action | None, rule: Rule | None, secret: str) -> Standing:
    """What is wrong with one hook."""
    wrong = tuple(_wrong(hook, action, secret)) if action else ()
    amiss = tuple(_amiss(hook, rule, action)) if rule else ()
    return Standing(hook=hook, action=action, rule=rule, wrong=wrong, amiss=amiss)


def _wrong(hook: Hook, action: Action, secret: str) -> Iterator[str]:
    yield from _different("url", action.url, hook.url)
    yield from _different("module", action.entity, hook.module)
    yield from _different("method", action.method.upper(), "POST")
    if action.secret == "":
        yield "secret is not set"
    elif action.secret is not None and action.secret.strip("*") and action.secret != secret:
        yield "secret is another"


def _amiss(hook: Hook, rule: Rule, action: Action | None) -> Iterator[str]:
    yield from _different("module", rule.entity, hook.module)
    yield from _different("event", rule.rule_type, hook.event)
    if rule.status.lower() not in {"", "active"}:
        yield f"is {rule.status}"
    fired = [one.action_id for one in rule.instant_actions if one.action_type == "webhook"]
    if action is None or fired != [action.webhook_id]:
        yield "does not fire its webhook"


def _different(what: str, found: str, wanted: str) -> Iterator[str]:
    if found != wanted:
        yield f"{what} is {found or 'not set'} instead of {wanted}"


# --- what is sent


def action_body(hook: Hook, secret: str) -> dict[str, Any]:
    """The webhook, as the API takes it: the default payload, signed."""
    return {
        "webhook_name": hook.name,
        "description": "Made by tds-runtime",
        "entity": hook.module,
        "method": "POST",
        "url": hook.url,
        "secret": str(secret),  # the masked kind of text has no JSON
        "is_new_response_format": True,
    }


def rule_body(hook: Hook, webhook_id: str) -> dict[str, Any]:
    """The rule, as the API takes it."""
    return {
        "workflow_name": hook.name,
        "description": "Made by tds-runtime",
        "entity": hook.module,
        "rule_type": hook.event,
        "apply_rule_always": True,
        "instant_actions": [{"action_id": webhook_id, "action_type": "webhook"}],
    }
