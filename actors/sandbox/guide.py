"""What a person can play with: every call of the control API in a line of words, with a body to start from."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import Struct

from actors.sandbox.faults import Kind
from actors.sandbox.limits import Rules
from actors.sandbox.options import Switches


class Page(Struct, frozen=True):
    """One control call: what it does, and an example of its body or its query."""

    method: str
    path: str
    words: str
    example: dict[str, Any] | str = ""


RECEIVER = "http://127.0.0.1:8000/webhooks/zoho"
RECORDS = (
    Page("GET", "/sandbox/counts", "how many records of each kind there are"),
    Page("POST", "/sandbox/edit",
         "change records, by ids, the first so many, or so many at random; stamp is now, next, keep or a time",
         {"entity": "product", "count": 2, "set": {"rate": 1234.5}, "stamp": "now", "webhooks": True}),
    Page("POST", "/sandbox/create", "make records; `set` and `extra` take document keys",
         {"entity": "customer", "count": 3}),
    Page("POST", "/sandbox/delete", "delete records; nothing tells of it but a webhook",
         {"entity": "invoice", "random": 1}),
    Page("POST", "/sandbox/stock", "move stock without touching the item's stamp, given or at random", {"random": 10}),
    Page("POST", "/sandbox/pay", "pay an invoice or a bill, all of it or an amount",
         {"invoice_id": "5260815031000000701", "amount": 10.0}),
    Page("GET", "/sandbox/truth/{entity}", "all records, a line of JSON each",
         "?view=list|detail|ids&api=books|inventory"),
    Page("GET", "/sandbox/record/{entity}/{id}", "one record, as it is or as it was",
         "?version=1&view=detail|list|webhook"),
)  # fmt: skip
WEBHOOKS = (
    Page("GET", "/sandbox/webhooks", "hooks, chaos and statistics"),
    Page("PUT", "/sandbox/webhooks", "where webhooks go: these hooks instead of the former ones",
         {"hooks": [{"url": RECEIVER, "entity": "*", "shape": "json", "retry": [5.0, 30.0]}]}),
    Page("POST", "/sandbox/webhooks", "one more hook", {"url": RECEIVER, "entity": "product"}),
    Page("DELETE", "/sandbox/webhooks", "no hooks any more"),
    Page("POST", "/sandbox/webhooks/send",
         "send records now: current, older, unsigned, bad_signature, id_only, unknown_id or garbage",
         {"entity": "product", "count": 1, "variant": "older", "times": 2}),
    Page("POST", "/sandbox/webhooks/chaos", "lose, double, swap or delay shares of the deliveries",
         {"drop": 0.05, "duplicate": 0.05, "reorder": 0.1, "late": 0.05, "late_seconds": 5.0}),
    Page("GET", "/sandbox/webhooks/statistics", "what became of the deliveries"),
    Page("GET", "/sandbox/webhooks/deliveries", "the newest deliveries, one by one", "?limit=20"),
    Page("POST", "/sandbox/webhooks/drain", "wait until nothing waits to be delivered", {"timeout": 30.0}),
)  # fmt: skip
OTHERS = (
    Page("GET", "/sandbox", "everything at a glance: options, switches, clock, limits, faults, counts"),
    Page("GET", "/sandbox/", "this page; ?format=json for programs"),
    Page("GET", "/sandbox/break", "the planted failures, and how often each struck"),
    Page("POST", "/sandbox/break", f"plant a failure: {', '.join(get_args(Kind))}",
         {"kind": "status", "path": "/invoices", "status": 503, "times": 3, "after": 1}),
    Page("DELETE", "/sandbox/break", "remove all planted failures; hanging calls go on"),
    Page("DELETE", "/sandbox/break/{fault}", "remove one planted failure"),
    Page("GET", "/sandbox/oauth", "tokens and their scope"),
    Page("POST", "/sandbox/oauth", "revoke access, refresh or all; restore; set the scope; get a grant code",
         {"revoke": "access", "scope": "ZohoBooks.contacts.READ"}),
    Page("GET", "/sandbox/limits", "the limits and what was used of them"),
    Page("POST", "/sandbox/limits", "set the limits; reset forgets what was used, block is a number of seconds",
         msgspec.to_builtins(Rules()) | {"reset": True}),
    Page("GET", "/sandbox/clock", "the sandbox's time"),
    Page("POST", "/sandbox/clock", "set it, advance it by seconds, freeze it, or reset it",
         {"set": "2026-03-02T23:59:00+0300", "frozen": True}),
    Page("GET", "/sandbox/switches", "the open points as they are set"),
    Page("POST", "/sandbox/switches", "set open points; also --switch name=value at the start",
         msgspec.to_builtins(Switches())),
    Page("GET", "/sandbox/calls", "how often each endpoint was called, and with what statuses"),
    Page("DELETE", "/sandbox/calls", "count anew"),
    Page("POST", "/sandbox/latency", "every call takes so many milliseconds longer", {"ms": 50.0}),
    Page("POST", "/sandbox/reset", "everything as at the start"),
)  # fmt: skip
PAGES = (*OTHERS, *RECORDS, *WEBHOOKS)


def text() -> str:
    """The guide as plain text, for curl and for browsers."""
    lines = ["The control API of the sandbox. Bodies are JSON; what is left out keeps its default. Try:", ""]
    for page in PAGES:
        lines.append(f"{page.method:6} {page.path}")
        lines.append(f"       {page.words}")
        if page.example:
            shown = page.example if isinstance(page.example, str) else msgspec.json.encode(page.example).decode()
            lines.append(f"       {shown}")
    return "\n".join(lines) + "\n"
