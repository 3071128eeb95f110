"""Reads and mends the source's webhooks and workflow rules; those that somebody else made are never touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from actors.zoho import workflows
from actors.zoho.client import Client
from actors.zoho.hosts import Api
from actors.zoho.workflows import Action, Hook, Rule, Standing
from tds_runtime.errors import SourceAnswerInvalid

WEBHOOKS, RULES = "/settings/webhooks", "/settings/workflows"

T = TypeVar("T")


class _Context(Struct, frozen=True):
    has_more_page: bool = False


class _Page(Struct, frozen=True):
    webhooks: tuple[Action, ...] = ()
    workflows: tuple[Rule, ...] = ()
    page_context: _Context = _Context()


class _One(Struct, frozen=True):
    webhook: Action | None = None
    workflow: Rule | None = None


class Automation:
    """The settings of one organisation; `secret` is what its webhooks sign with."""

    def __init__(self, client: Client, secret: str) -> None:
        self._client = client
        self._secret = workflows.checked_secret(secret)

    async def read(self, hooks: Sequence[Hook]) -> list[Standing]:
        """How each of these hooks stands; nothing is changed."""
        standings: dict[str, Standing] = {}
        for api in sorted({hook.api for hook in hooks}):
            of_api = [hook for hook in hooks if hook.api == api]
            actions = {one.webhook_name: one.webhook_id for one in await self._actions(api)}
            rules = {one.workflow_name: one.workflow_id for one in await self._rules(api)}
            for hook in of_api:
                standings[hook.name] = await self._standing(hook, actions.get(hook.name), rules.get(hook.name))
        return [standings[hook.name] for hook in hooks]

    async def _standing(self, hook: Hook, webhook_id: str | None, workflow_id: str | None) -> Standing:
        """By its details: what a list leaves out would look like a difference."""
        action = (await self._one(hook.api, f"{WEBHOOKS}/{webhook_id}")).webhook if webhook_id else None
        rule = (await self._one(hook.api, f"{RULES}/{workflow_id}")).workflow if workflow_id else None
        return workflows.compared(hook, action, rule, self._secret)

    async def install(self, standings: Iterable[Standing]) -> None:
        """Make and mend what is not as it should be; what is right is left alone."""
        for standing in standings:
            if not standing.is_right:
                await self._mend(standing)

    async def _mend(self, standing: Standing) -> None:
        hook, action, rule = standing.hook, standing.action, standing.rule
        body = workflows.action_body(hook, self._secret)
        if action is None:
            action = (await self._write("POST", hook.api, WEBHOOKS, body)).webhook
        elif standing.wrong:
            await self._write("PUT", hook.api, f"{WEBHOOKS}/{action.webhook_id}", body)
        if action is None:
            raise SourceAnswerInvalid(f"the answer to {WEBHOOKS} has no webhook")
        await self._mend_rule(standing, workflows.rule_body(hook, action.webhook_id), rule)

    async def _mend_rule(self, standing: Standing, body: dict[str, Any], rule: Rule | None) -> None:
        api = standing.hook.api
        if rule is None:
            await self._write("POST", api, RULES, body)
        elif standing.amiss:
            await self._write("PUT", api, f"{RULES}/{rule.workflow_id}", body)
            if rule.status.lower() not in {"", "active"}:
                await self._write("POST", api, f"{RULES}/{rule.workflow_id}/active")

    # --- calls

    async def _actions(self, api: Api) -> list[Action]:
        return [one for page in await self._pages(api, WEBHOOKS) for one in page.webhooks]

    async def _rules(self, api: Api) -> list[Rule]:
        return [one for page in await self._pages(api, RULES) for one in page.workflows]

    async def _pages(self, api: Api, path: str) -> list[_Page]:
        pages: list[_Page] = []
        while not pages or pages[-1].page_context.has_more_page:
            body = await self._client.get(api, path, {"page": str(len(pages) + 1), "per_page": "200"})
            pages.append(_read(body, _Page))
        return pages

    async def _one(self, api: Api, path: str) -> _One:
        return _read(await self._client.get(api, path), _One)

    async def _write(self, method: Any, api: Api, path: str, body: dict[str, Any] | None = None) -> _One:
        return _read(await self._client.write(method, api, path, body), _One)


def _read(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceAnswerInvalid(f"the settings cannot be read: {error}") from error
