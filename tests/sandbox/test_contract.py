"""The 43 facts that a faithful sandbox shows, and its open points: which test shows which, and none is left out."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from fixtures.sandbox import Sandbox

from actors.sandbox.options import Switches, switched

TESTS = Path(__file__).parent
# number: the tests that show it, as `module.test` without what all of them begin with
FACTS: dict[int, tuple[str, ...]] = {
    1: ("oauth.token_by_query_and_by_form", "oauth.client_may_authenticate_by_basic", "samples.tokens"),
    2: ("oauth.errors_come_with_status_200", "samples.oauth_errors"),
    3: ("oauth.eleventh_refresh_in_ten_minutes_is_throttled", "samples.oauth_errors"),
    4: ("oauth.no_or_bad_token_is_57", "oauth.missing_scope_is_the_same_57", "samples.errors"),
    5: ("oauth.tokens_expire_after_an_hour", "oauth.bearer_is_a_switch"),
    6: ("lists.paths_and_their_aliases",),
    7: ("lists.envelopes", "samples.lists_and_reports", "samples.details"),
    8: ("lists.ids_are_text_and_absent_is_empty", "samples.lists_and_reports", "samples.details", "samples.items"),
    9: ("lists.page_context_and_default_sort", "samples.lists_and_reports"),
    10: ("lists.has_more_page_is_exact", "lists.per_page_over_200_is_a_switch"),
    11: ("lists.count_call",),
    12: ("lists.small_lists_have_no_page_context",),
    13: ("lists.page_context_and_default_sort",),
    14: ("lists.sorting_is_echoed",),
    15: ("lists.sort_by_modified_where_the_api_has_it",),
    16: ("lists.modified_filter_where_the_api_has_it",),
    17: ("lists.bad_timestamp_is_code_2", "samples.errors"),
    18: ("lists.modified_filter_is_ignored_elsewhere", "lists.books_items_filter_is_a_switch"),
    19: ("lists.unknown_parameters_are_ignored",),
    20: ("documents.documents_have_the_recorded_keys", "samples.details"),
    21: ("documents.documents_have_the_recorded_keys", "documents.stock_keys_only_on_tracked_items",
         "documents.stock_by_location_or_by_warehouse", "samples.items"),
    22: ("documents.itemdetails_in_bulk",),
    23: ("documents.images",),
    24: ("documents.price_lists",),
    25: ("documents.customer_payment_detail_has_updated_time",),
    26: ("documents.payments_move_documents_and_not_contacts", "documents.bumping_by_payment_and_balance_are_switches"),
    27: ("documents.payments_move_documents_and_not_contacts", "documents.bumping_by_payment_and_balance_are_switches"),
    28: ("documents.stock_moves_and_the_stamp",),
    29: ("documents.times_are_local_with_a_plain_offset", "contract.times_follow_the_zone"),
    30: ("writes.create_read_delete", "writes.update", "writes.json_in_a_field"),
    31: ("samples.errors", "writes.unknown_path_is_code_5", "writes.missing_record_is_code_1002"),
    32: ("samples.errors", "writes.organisations"),
    33: ("limits.headers_on_every_scoped_answer", "samples.headers", "samples.headers_of_organisations"),
    34: ("limits.hundred_calls_a_minute", "limits.daily_quota", "limits.eleven_at_once", "limits.hard_block",
         "samples.errors"),
    35: ("writes.deleted_records_vanish",),
    36: ("webhooks.default_payload", "webhooks.custom_fields_are_flattened", "webhooks.webhooks_for_the_others"),
    37: ("webhooks.form_with_query_and_headers", "webhooks.plain_form_fields"),
    38: ("webhooks.signature_vectors", "webhooks.signature_of_json",
         "webhooks.signature_place_and_encoding_are_switches"),
    39: ("webhooks.no_webhooks_for_some",),
    40: ("webhooks.drop_and_duplicate", "webhooks.reorder_and_late", "webhooks.retry_only_by_policy",
         "webhooks.timeout_is_a_switch", "webhooks.success_criterion_is_a_switch", "webhooks.daily_cap"),
    41: ("webhooks.delete_webhook",),
    42: ("limits.hundred_calls_a_minute", "limits.errors_count"),
    43: ("documents.india_edition_adds_its_keys", "documents.other_editions_have_no_indian_keys"),
}  # fmt: skip
# switch: the test that runs it both ways
OPEN_POINTS = {
    "books_items_modified_filter": "lists.books_items_filter_is_a_switch",
    "books_items_default_filter": "lists.default_filters",
    "unsupported_modified_filter": "lists.unsupported_filter_is_a_switch",
    "modified_comparator": "lists.modified_filter_where_the_api_has_it",
    "unsupported_sort": "lists.unsupported_sort_is_a_switch",
    "per_page_over_maximum": "lists.per_page_over_200_is_a_switch",
    "count_call": "lists.count_call",
    "page_context_on_small_lists": "lists.small_list_context_is_a_switch",
    "missing_image_status": "documents.images",
    "missing_image_code": "documents.images",
    "stock_bumps_item": "documents.stock_moves_and_the_stamp",
    "payment_bumps_document": "documents.bumping_by_payment_and_balance_are_switches",
    "balance_bumps_contact": "documents.bumping_by_payment_and_balance_are_switches",
    "stock_places": "documents.stock_by_location_or_by_warehouse",
    "branches_enabled": "lists.branches_are_a_feature",
    "signature_encoding": "webhooks.signature_place_and_encoding_are_switches",
    "signature_header": "webhooks.signature_place_and_encoding_are_switches",
    "delete_body": "webhooks.delete_webhook",
    "webhook_timeout": "webhooks.timeout_is_a_switch",
    "webhook_success": "webhooks.success_criterion_is_a_switch",
    "webhooks_per_day": "webhooks.daily_cap",
    "api_writes_fire_webhooks": "webhooks.api_writes_echo_back",
    "control_fires_webhooks": "webhooks.control_edits_are_silent_unless_switched",
    "bearer_accepted": "oauth.bearer_is_a_switch",
    "throttle_as_200": "limits.old_throttling_with_status_200",
    "expired_token_code": "oauth.code_of_a_bad_token_is_a_switch",
}
SAID = re.compile(r"Facts? ([\d, and]+):")


def told() -> dict[str, set[int]]:
    """Every test of the sandbox, with the numbers of the facts that its first words name."""
    found = {}
    for path in sorted(TESTS.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = SAID.match(ast.get_docstring(node) or "")
                name = f"{path.stem.removeprefix('test_')}.{node.name.removeprefix('test_')}"
                found[name] = {int(number) for number in re.findall(r"\d+", said[1])} if said else set()
    return found


@pytest.mark.parametrize("number", range(1, 44))
def test_each_fact_is_shown(number: int):
    """Each of the 43 facts has tests, and these are exactly the ones that say so themselves."""
    saying = {name for name, numbers in told().items() if number in numbers}
    assert saying
    assert set(FACTS[number]) == saying


def test_there_are_no_other_facts():
    """The table ends where the specification ends."""
    assert sorted(FACTS) == [*range(1, 44)]
    assert set().union(*told().values()) == set(FACTS)


@pytest.mark.parametrize("name", Switches.__struct_fields__)
def test_each_open_point_is_tried(name: str):
    """Each switch is turned by a test, by its name."""
    module, test = OPEN_POINTS[name].split(".")
    text = (TESTS / f"test_{module}.py").read_text("utf-8")
    node = next(node for node in ast.parse(text).body if getattr(node, "name", "") == f"test_{test}")
    assert f"{name}=" in (ast.get_source_segment(text, node) or "")
    assert set(OPEN_POINTS) == set(Switches.__struct_fields__)


def test_switches_from_the_command_line(start_sandbox: Callable[..., Any]):
    """Every open point can be set when the sandbox is started, and a reset brings that back."""
    words = {"delete_body": "empty", "webhook-timeout": "2.5", "stock_bumps_item": "true", "missing_image_code": "5"}
    given = [word for name, value in words.items() for word in ("--switch", f"{name}={value}")]
    with start_sandbox("--scale", "0.01", *given) as sandbox:
        started = sandbox.control("GET", "/switches")
        sandbox.switch(delete_body="id")
        sandbox.reset()
        assert sandbox.control("GET", "/switches") == started
    turned = {"delete_body": "empty", "webhook_timeout": 2.5, "stock_bumps_item": True, "missing_image_code": 5}
    assert started == msgspec.to_builtins(Switches()) | turned


@pytest.mark.parametrize("word", ["delete_body", "delete_body=nothing", "no_such=1", "webhooks_per_day=many"])
def test_a_wrong_switch_is_refused(word: str):
    """A switch that does not exist, or cannot be turned so far, ends the start with status 2 and a reason."""
    with pytest.raises(ValueError, match=r"name=value|Invalid|unknown|Expected"):
        switched([word])


def test_a_wrong_switch_ends_the_process():
    """The command line says what is wrong, and nothing is started."""
    command = [sys.executable, "-m", "actors.sandbox", "--switch", "delete_body=nothing"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "delete_body" in ended.stderr


def test_times_follow_the_zone(start_sandbox: Callable[..., Any]):
    """Fact 29: in a zone with summer time each time has the offset of its own day, without a colon."""
    with start_sandbox("--no-limits", "--scale", "0.1", "--time-zone", "America/New_York") as sandbox:
        stamps = [row["created_time"] for row in sandbox.rows("/books/v3/contacts", "contacts")]
    assert {stamp[-5:] for stamp in stamps} == {"-0400", "-0500"}
    assert all((stamp[-5:] == "-0400") is ("04" <= stamp[5:7] <= "10") for stamp in stamps if stamp[5:7] not in "0311")


def test_every_answer_follows_from_the_seed(sandbox: Sandbox, start_sandbox: Callable[..., Any]):
    """Two sandboxes of one seed answer every kind of call alike, byte for byte, also after the same edits."""
    paths = [
        *(f"/books/v3/{module}" for module in ("contacts", "invoices", "bills", "creditnotes", "customerpayments",
                                               "vendorpayments", "pricebooks", "users", "locations", "branches",
                                               "organizations", "settings/taxes", "chartofaccounts")),
        *(f"/inventory/v1/{module}" for module in ("items", "salesorders", "inventoryadjustments", "salesreturns",
                                                   "settings/warehouses", "reports/inventorysummary")),
        "/inventory/v1/items/5260815010000000000", "/inventory/v1/items/5260815010000000000/image",
        "/books/v3/invoices/5260815031000000007", "/books/v3/pricebooks/5260815060000000006",
        "/books/v3/items?sort_column=rate&sort_order=D&page=3", "/books/v3/invoices?accept=pdf",
    ]  # fmt: skip
    with start_sandbox("--no-limits") as other:
        for round_number in range(2):
            for path in paths:
                place, _, query = path.partition("?")
                one, two = (each.get(place, **dict(parse_qsl(query))) for each in (sandbox, other))
                assert (one.status_code, one.content) == (two.status_code, two.content), path
            for each in (sandbox, other):
                each.control("POST", "/clock", set="2026-02-03T04:05:06+0300", frozen=True)
                each.edit("product", random=20)
                each.control("POST", "/stock", random=20)
                each.create("customer", count=3)
                each.delete("invoice", random=3 + round_number)
