"""What a sandbox is started with, what it announces when it is ready, and every open point as a switch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

ORGANIZATION_ID = "60012345678"
CLIENT_ID = "1000.SANDBOXCLIENT0000000000000000000"
CLIENT_SECRET = "5a4db0c5ec2e7000000000000000000000000000"  # noqa: S105 - a laptop's fixed credential, so that tds.toml can hold it
REFRESH_TOKEN = "1000.5a4db0c5000000000000000000000001.5a4db0c5000000000000000000000002"  # noqa: S105 - the same
WEBHOOK_SECRET = "sandboxWebhookSecret2026"  # noqa: S105 - the same


class Switches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The points that could not be established about the real API; tests run both ways."""

    books_items_modified_filter: Literal["ignored", "rejected", "applied"] = "ignored"
    books_items_default_filter: Literal["Status.All", "Status.Active"] = "Status.All"
    unsupported_modified_filter: Literal["ignored", "rejected"] = "ignored"
    modified_comparator: Literal["at_or_after", "after"] = "at_or_after"
    unsupported_sort: Literal["ignored", "rejected"] = "ignored"
    per_page_over_maximum: Literal["clamped", "rejected"] = "clamped"
    count_call: bool = True
    page_context_on_small_lists: bool = True
    missing_image_status: int = 404
    missing_image_code: int = 1002
    stock_bumps_item: bool = False
    payment_bumps_document: bool = True
    balance_bumps_contact: bool = False
    stock_places: Literal["locations", "warehouses"] = "locations"
    branches_enabled: bool = True
    signature_encoding: Literal["hex", "base64"] = "hex"
    signature_header: str = "X-Zoho-Webhook-Signature"
    delete_body: Literal["id", "id_and_number", "snapshot", "empty"] = "id"
    webhook_timeout: float = 5.0
    webhook_success: Literal["2xx", "any"] = "2xx"
    webhooks_per_day: int = 1000
    api_writes_fire_webhooks: bool = True
    control_fires_webhooks: bool = False
    bearer_accepted: bool = True
    throttle_as_200: bool = False
    expired_token_code: Literal[57, 14] = 57


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large, how fast and where: the same seed and scale give the same data, byte for byte."""

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    scale: float = 1.0
    limits: bool = True
    latency_ms: float = 0.0
    edition: Literal["global", "in"] = "global"
    time_zone: str = "Asia/Baghdad"
    cache_mb: int = 64
    switches: Switches = Switches()


class Announcement(Struct, frozen=True, kw_only=True):
    """Where the sandbox answers and what it accepts: printed as one JSON line when it is ready."""

    accounts: str
    api: str
    control: str
    organization_id: str = ORGANIZATION_ID
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    refresh_token: str = REFRESH_TOKEN
    webhook_secret: str = WEBHOOK_SECRET
    pid: int = 0


def switched(words: Sequence[str]) -> Switches:
    """The switches with `name=value` words laid over.

    Raises ValueError for a word without a name, and msgspec.ValidationError for an unknown name or value.
    """
    given = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is no name=value; the names are {', '.join(Switches.__struct_fields__)}")
        given[name.replace("-", "_")] = value
    return msgspec.convert(given, Switches, strict=False)
