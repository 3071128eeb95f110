from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors import webhooks
from actors.zoho import entities, workflows
from actors.zoho.workflows import Action, Fired, Hook, Routes, Rule, Unsuitable

ROOT = Path(__file__).parents[1]
SECRET = "aSecretForTheTests2026"
ROUTES = Routes(
    address="https://sync.example.com/", prefix=webhooks.PREFIX, catch_all=webhooks.CATCH_ALL, deletion="/delete"
)


@pytest.fixture(scope="module")
def hooks() -> dict[str, Hook]:
    shipped = entities.load(ROOT / "config" / "entities")
    return {hook.name: hook for hook in workflows.wanted(shipped, ROUTES)}


def test_every_module_tells_its_changes_once_and_its_deletions_to_all(hooks: dict[str, Hook]) -> None:
    """Contacts are two entities: one rule for changes, which say whose they are, and one deletion for each."""
    changes = [hook.module for hook in hooks.values() if hook.event == "created_or_edited"]
    assert sorted(changes) == sorted({hook.module for hook in hooks.values()})
    assert sorted(changes) == [
        "bill", "contact", "creditnote", "customerpayment", "inventoryadjustment", "invoice", "item", "salesorder",
        "salesreturn", "vendorpayment",
    ]  # fmt: skip
    contacts = [hook.name for hook in hooks.values() if hook.module == "contact"]
    assert contacts == ["tds customers changed", "tds customers deleted", "tds vendors deleted"]


def test_a_hook_goes_to_its_entitys_route(hooks: dict[str, Hook]) -> None:
    """Items are told by Inventory, as they are pulled from it; a deletion goes to the route that means one."""
    changed, deleted = hooks["tds products changed"], hooks["tds products deleted"]
    assert (changed.api, changed.url) == ("inventory", "https://sync.example.com/api/tds/webhooks/products")
    assert deleted.url == "https://sync.example.com/api/tds/webhooks/products/delete"
    assert hooks["tds payments vendorpayment changed"].api == "books"


def test_what_has_no_rules_is_polled() -> None:
    """Users, price lists and branches have no webhooks at the source."""
    assert workflows.polled(entities.load(ROOT / "config" / "entities")) == ["branch", "price_list", "user"]


def test_no_name_is_longer_than_the_source_takes(hooks: dict[str, Hook]) -> None:
    """Fifty characters; a longer one is refused before anything is sent."""
    assert max(map(len, hooks)) <= 50
    product = entities.load(ROOT / "config" / "entities")["product"]
    assert product.webhook is not None
    long = msgspec.structs.replace(product.webhook, paths=["p" * 40])
    product.mapping = msgspec.structs.replace(product.mapping, webhook=long)
    with pytest.raises(Unsuitable, match="more than 50 characters; give the entity a shorter webhook path"):
        workflows.wanted([product], ROUTES)


def test_without_a_route_of_its_own_the_one_for_all_is_taken() -> None:
    """An entity that only its key names is told to the route that classifies by key."""
    product = entities.load(ROOT / "config" / "entities")["product"]
    assert product.webhook is not None
    product.mapping = msgspec.structs.replace(
        product.mapping, webhook=msgspec.structs.replace(product.webhook, paths=[])
    )
    changed, deleted = workflows.wanted([product], ROUTES)
    assert (changed.name, changed.url) == ("tds product changed", "https://sync.example.com/api/tds/zoho/webhooks")
    assert deleted.url == "https://sync.example.com/api/tds/zoho/webhooks/delete"


@pytest.mark.parametrize("secret", ["short", "x" * 51, "with-a-dash-in-it", "äöüäöüäöüäöü"])
def test_a_secret_that_the_source_would_not_take_is_refused(secret: str) -> None:
    """Twelve to fifty letters and digits; the refusal does not say the secret."""
    with pytest.raises(Unsuitable) as refused:
        workflows.checked_secret(secret)
    assert secret not in str(refused.value)


def test_what_is_right_needs_nothing(hooks: dict[str, Hook]) -> None:
    """A webhook and a rule as they were made, whether or not the source tells the secret."""
    hook = hooks["tds bills changed"]
    for told in (SECRET, "********", None):
        assert workflows.compared(hook, action(hook, secret=told), rule(hook), SECRET).is_right


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "https://elsewhere.example.com"}, "url is https://elsewhere.example.com instead of https://sync"),
        ({"entity": "item"}, "module is item instead of bill"),
        ({"method": "PUT"}, "method is PUT instead of POST"),
        ({"secret": "anotherSecret2026"}, "secret is another"),
        ({"secret": ""}, "secret is not set"),
    ],
)
def test_what_a_webhook_differs_in_is_said(hooks: dict[str, Hook], change: dict[str, str], said: str) -> None:
    """Each difference in words; of a secret neither the one nor the other."""
    hook = hooks["tds bills changed"]
    standing = workflows.compared(hook, action(hook, **change), rule(hook), SECRET)
    assert len(standing.wrong) == 1
    assert standing.wrong[0].startswith(said)
    assert not standing.is_right
    assert SECRET not in str(standing.wrong)
    assert "anotherSecret2026" not in str(standing.wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entity": "item"}, "module is item instead of bill"),
        ({"rule_type": "created"}, "event is created instead of created_or_edited"),
        ({"status": "inactive"}, "is inactive"),
        ({"instant_actions": ()}, "does not fire its webhook"),
        ({"instant_actions": (Fired("9", "webhook"),)}, "does not fire its webhook"),
    ],
)
def test_what_a_rule_differs_in_is_said(hooks: dict[str, Hook], change: dict[str, object], said: str) -> None:
    """Each difference in words."""
    hook = hooks["tds bills changed"]
    assert workflows.compared(hook, action(hook), rule(hook, **change), SECRET).amiss == (said,)


def test_what_is_missing_is_not_right(hooks: dict[str, Hook]) -> None:
    """Neither half is enough."""
    hook = hooks["tds bills changed"]
    assert not workflows.compared(hook, action(hook), None, SECRET).is_right
    assert not workflows.compared(hook, None, rule(hook), SECRET).is_right


def action(hook: Hook, **change: object) -> Action:
    found = {**workflows.action_body(hook, SECRET), "webhook_id": "1", **change}
    return msgspec.convert(found, Action)


def rule(hook: Hook, **change: object) -> Rule:
    return msgspec.convert({**workflows.rule_body(hook, "1"), "workflow_id": "2", **change}, Rule)
