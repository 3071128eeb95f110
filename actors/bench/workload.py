"""The rows that queue benches work on: products as an item listing shows them, about 700 bytes each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

SIZE = 700
BEGAN = datetime(2026, 1, 2, 7, tzinfo=UTC)


def identity(number: int) -> str:
    """The id of product `number`."""
    return str(5260000000000000000 + number)


def document(number: int, version: int = 0) -> bytes:
    """Product `number` as JSON; a later version differs in stamp, name and price."""
    stamp = (BEGAN + timedelta(seconds=version)).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
    row = {
        "item_id": identity(number),
        "name": f"Wireless Mouse M{number} v{version}",
        "sku": f"MOU-{number}",
        "unit": "pcs",
        "status": "active",
        "item_type": "inventory",
        "brand": "Levant",
        "category_name": "Accessories",
        "rate": 15000.5 + version,
        "purchase_rate": 11250.25,
        "stock_on_hand": number % 97,
        "available_stock": number % 97,
        "actual_available_stock": number % 97,
        "reorder_level": "",
        "image_name": "",
        "image_document_id": "",
        "created_time": "2025-06-01T10:00:00+0300",
        "last_modified_time": stamp,
        "description": "",
    }
    padding = SIZE - len(msgspec.json.encode(row))
    return msgspec.json.encode({**row, "description": "x" * max(0, padding)})


def documents(count: int, version: int = 0) -> Iterator[bytes]:
    """`count` products."""
    return (document(number, version) for number in range(count))
