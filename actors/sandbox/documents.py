"""Records written as the API writes them: list rows, details and webhook bodies, as bytes, kept while they are true."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import msgspec

from actors.sandbox.clock import Clock
from actors.sandbox.editions import added_keys, added_to_lines
from actors.sandbox.entity import Facts
from actors.sandbox.shapes import Document, number
from actors.sandbox.world import Past, World

# A change of the one makes the written forms of the others stale.
DEPENDENTS = {
    "contacts": (
        "invoices", "salesorders", "bills", "creditnotes", "customerpayments", "vendorpayments", "salesreturns",
        "items",
    ),
    "invoices": ("salesorders", "customerpayments"),
    "bills": ("vendorpayments",),
    "creditnotes": ("salesreturns",),
    "locations": ("items", "salesorders", "inventoryadjustments", "salesreturns"),
    "pricebooks": ("contacts",),
}  # fmt: skip
MONEY = (
    "rate", "purchase_rate", "total", "balance", "sub_total", "amount", "outstanding_receivable_amount",
    "outstanding_payable_amount", "unused_credits_receivable_amount",
)  # fmt: skip


class Documents:
    """Writes documents and remembers the bytes, up to a limit; a change forgets what it made stale.

    While `stale` is set, every changed record is written as it was before its last change (a planted fault).
    """

    def __init__(self, world: World, *, edition: str, cache_bytes: int) -> None:
        self._world = world
        self._edition = edition
        self._encode = msgspec.json.Encoder().encode
        self._kept: defaultdict[str, dict[tuple[str, int], bytes]] = defaultdict(dict)
        self._room = cache_bytes
        self.stale = False
        world.on_change.append(self._forget)

    def row(self, module: str, index: int, api: str) -> bytes:
        """One row of a list."""
        kept = self._kept[module].get((api, index))
        return kept if kept is not None and not self.stale else self._write(module, index, api, "row")

    def detail(self, module: str, index: int, api: str) -> bytes:
        """One record with everything."""
        kept = self._kept[module].get((f"{api}/detail", index))
        return kept if kept is not None and not self.stale else self._write(module, index, api, "detail")

    def _write(self, module: str, index: int, api: str, form: str) -> bytes:
        past = self._world.past(module, index, -1) if self.stale else None
        body = self._encode(self.document(module, index, api, form, past))
        if self._room > 0 and not self.stale:
            self._room -= len(body)
            self._kept[module][api if form == "row" else f"{api}/detail", index] = body
        return body

    def document(self, module: str, index: int, api: str, form: str, past: Past | None = None) -> Document:
        """A row or a detail as a dictionary, now or as it was."""
        facts = self._world.facts(module, index, past)
        entity = self._world.entities[module]
        document = entity.row(facts, api) if form == "row" else entity.detail(facts, api)
        if self._edition == "in":
            document |= added_keys(module, facts)
            added_to_lines(document)
        if "written" in facts:
            written = facts["written"]
            document |= {key: fitted(document[key], written[key]) for key in written if key in document}
        extra = past.extra if past is not None else self._world.added(module, index)
        return document | extra if extra else document

    def webhook(self, module: str, index: int, past: Past | None = None) -> bytes:
        """The default payload of a workflow webhook: the detail, `*_formatted` twins and flattened custom fields."""
        facts = self._world.facts(module, index, past)
        detail = self.document(module, index, "books", "detail", past)
        detail |= twins(detail, facts, self._world.clock)
        if detail.get("custom_field_hash"):
            detail |= detail["custom_field_hash"]
        return self._encode({self._world.kind(module).webhook_key: detail})

    def _forget(self, module: str, index: int) -> None:
        kept = self._kept[module]
        for api in ("books", "inventory", "books/detail", "inventory/detail"):
            body = kept.pop((api, index), None)
            self._room += len(body) if body is not None else 0
        for dependent in DEPENDENTS.get(module, ()):
            self._room += sum(map(len, self._kept[dependent].values()))
            self._kept[dependent].clear()

    def forget_all(self) -> None:
        """Write everything anew from now on."""
        self._room += sum(len(body) for kept in self._kept.values() for body in kept.values())
        self._kept.clear()


def fitted(old: object, written: object) -> object:
    """A value as somebody wrote it, in the type that the document has there; what cannot be fitted stays as it was."""
    if isinstance(old, dict):
        return old | {key: value for key, value in written.items() if key in old} if isinstance(written, dict) else old
    if isinstance(old, bool) or isinstance(written, dict | list):
        return written if isinstance(written, type(old)) else old
    if isinstance(old, int | float):
        try:
            return type(old)(number(written))
        except ValueError:
            return old
    return "" if written is None else written


def twins(detail: Document, facts: Facts, clock: Clock) -> Document:
    """The locale's text of what a webhook repeats as `*_formatted`."""
    symbol = detail.get("currency_symbol") or "IQD"
    found: Document = {
        f"{key}_formatted": f"{symbol}{detail[key]:,.2f}" for key in MONEY if isinstance(detail.get(key), float)
    }
    for key in ("status", "contact_type"):
        if key in detail:
            found[f"{key}_formatted"] = str(detail[key]).replace("_", " ").title()
    if "stock_on_hand" in detail:
        found["stock_on_hand_formatted"] = f"{detail['stock_on_hand']:.2f}"
    for key, seconds in (("created_time", facts["created"]), ("last_modified_time", facts["modified"])):
        if key in detail:
            found[f"{key}_formatted"] = clock.pretty(seconds)
    for key in ("date", "due_date"):
        if detail.get(key):
            found[f"{key}_formatted"] = clock.pretty_date(_noon(str(detail[key]), clock))
    if "currency_symbol" in detail and "line_items" in detail:
        found["currency_formatter"] = {"decimal_separator": ".", "number_separator": ","}
    return found


def _noon(date: str, clock: Clock) -> float:
    return datetime.fromisoformat(f"{date}T12:00:00").replace(tzinfo=clock.zone).timestamp()
