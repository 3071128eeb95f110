"""Lists: which records, in which order, on which page, with the page context as recorded."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import islice

import msgspec
from msgspec import Struct

from actors.sandbox.answers import Answer, invalid
from actors.sandbox.clock import parse_stamp
from actors.sandbox.documents import Documents
from actors.sandbox.entity import Facts
from actors.sandbox.kinds import Kind
from actors.sandbox.options import Switches
from actors.sandbox.request import whole_number
from actors.sandbox.shapes import Document
from actors.sandbox.world import World

MOST = 200
MODIFIED = "last_modified_time"
SORTS = {
    "items": ("name", "rate", "tax_name", "sku"),
    "contacts": ("contact_name", "first_name", "last_name", "email", "created_time"),
    "invoices": ("created_time", "invoice_number", "date", "due_date", "total", "balance", "customer_name"),
    "salesorders": ("created_time", "salesorder_number", "date", "total", "customer_name"),
    "bills": ("created_time", "bill_number", "date", "due_date", "total", "vendor_name"),
    "creditnotes": ("created_time", "creditnote_number", "date", "total", "balance"),
    "customerpayments": ("date", "amount", "payment_number", "created_time"),
    "vendorpayments": ("date", "amount", "payment_number", "created_time"),
    "inventoryadjustments": ("date", "created_time"),
    "salesreturns": ("date", "created_time"),
    "pricebooks": ("name",),
    "users": ("name", "email"),
}  # fmt: skip
SEARCHED = {
    "items": ("name", "sku", "description", "rate", "unit", "status"),
    "contacts": ("contact_name", "company_name", "first_name", "last_name", "email", "phone", "contact_type", "status"),
    "invoices": ("invoice_number", "reference_number", "status", "date", "total"),
    "salesorders": ("salesorder_number", "reference_number", "status", "date", "total"),
    "bills": ("bill_number", "reference_number", "status", "date", "total"),
    "creditnotes": ("creditnote_number", "reference_number", "status", "date", "total"),
    "customerpayments": ("payment_number", "reference_number", "date", "amount", "payment_mode"),
    "vendorpayments": ("payment_number", "reference_number", "date", "amount", "payment_mode"),
    "salesreturns": ("salesreturn_number", "date"),
    "inventoryadjustments": ("reference_number", "date", "reason"),
    "pricebooks": ("name", "status"),
    "users": ("name", "email", "status"),
}  # fmt: skip
COMPARE: dict[str, Callable[[str, str], bool]] = {
    "": str.__eq__, "_startswith": str.startswith, "_contains": str.__contains__, "_start": str.__ge__,
    "_end": str.__le__,
}  # fmt: skip


class Asked(Struct, frozen=True, kw_only=True):
    """A list call, understood: `tests` are (fact, comparator, text) triples that must all hold."""

    page: int
    per_page: int
    column: str
    descending: bool
    since: int | None
    applied_filter: str
    tests: tuple[tuple[str, str, str], ...]
    total_only: bool


class Listing:
    """Answers list calls; filtered orders are remembered until a record of their kind changes."""

    def __init__(self, world: World, documents: Documents, switches: Callable[[], Switches]) -> None:
        self._world = world
        self._documents = documents
        self._switches = switches
        self._views: dict[str, dict[tuple[object, ...], array[int]]] = {}
        world.on_change.append(self._forget)

    def _forget(self, module: str, _index: int) -> None:
        self._views.pop(module, None)

    def forget_all(self) -> None:
        """Choose anew from now on."""
        self._views.clear()

    # --- understanding

    def understand(self, kind: Kind, api: str, query: dict[str, str]) -> Asked:
        """Read the parameters of a list call; unknown ones are silently ignored."""
        column, descending = self._sort(kind, api, query)
        applied = query.get("filter_by") or self._default_filter(kind, api)
        return Asked(
            page=whole_number(query, "page", 1), per_page=self._per_page(query), column=column, descending=descending,
            since=self._since(kind, api, query), applied_filter=applied,
            tests=self._tests(kind, query, applied),
            total_only=query.get("response_option") == "2" and self._switches().count_call,
        )  # fmt: skip

    def _per_page(self, query: dict[str, str]) -> int:
        wanted = whole_number(query, "per_page", MOST)
        if wanted > MOST and self._switches().per_page_over_maximum == "rejected":
            raise invalid("per_page")
        return min(wanted, MOST)

    def _sort(self, kind: Kind, api: str, query: dict[str, str]) -> tuple[str, bool]:
        column = query.get("sort_column", "")
        order = query.get("sort_order", "")
        if order not in {"", "A", "D"}:
            raise invalid("sort_order")
        known = column in SORTS.get(kind.module, ()) or (column == MODIFIED and api in kind.sorts_modified)
        if column and not known:
            if self._switches().unsupported_sort == "rejected":
                raise invalid("sort_column")
            column = ""
        if not column:
            return kind.sort_column, (order or kind.sort_order) == "D"
        return column, order == "D"

    def _since(self, kind: Kind, api: str, query: dict[str, str]) -> int | None:
        text = query.get(MODIFIED)
        if not text:
            return None
        switches = self._switches()
        supported = api in kind.filters_modified
        if not supported:
            style = (
                switches.books_items_modified_filter if kind.module == "items" else switches.unsupported_modified_filter
            )
            if style == "rejected":
                raise invalid(MODIFIED)
            if style == "ignored":
                return None
        seconds = parse_stamp(text)
        if seconds is None:
            raise invalid(MODIFIED)
        return seconds

    def _default_filter(self, kind: Kind, api: str) -> str:
        """Users are listed without the inactive ones; whether Books does so with items is an open point."""
        if kind.module == "users":
            return "Status.Active"
        if kind.module == "items" and api == "books":
            return self._switches().books_items_default_filter
        return kind.applied_filter

    def _tests(self, kind: Kind, query: dict[str, str], applied: str) -> tuple[tuple[str, str, str], ...]:
        tests = []
        names = SEARCHED.get(kind.module, ())
        for name, value in query.items():
            for comparator in reversed(COMPARE):
                if value and name.endswith(comparator) and name[: len(name) - len(comparator)] in names:
                    tests.append((name[: len(name) - len(comparator)], comparator, value))
                    break
        for name in ("customer_id", "vendor_id"):
            if query.get(name) and kind.module not in {"items", "contacts"}:
                contact = self._world.catalogue.index(self._world.kind("contacts"), query[name])
                tests.append(("contact", "", str(contact)))
        if query.get("search_text"):
            tests.append(("*", "_contains", query["search_text"]))
        status = applied.partition("Status.")[2]
        if status and status != "All":
            tests.append(("status", "", _snake(status)))
        return tuple(tests)

    # --- choosing

    def chosen(self, kind: Kind, asked: Asked) -> tuple[list[int], int]:
        """The records of the page, and how many there are on all pages."""
        start = (asked.page - 1) * asked.per_page
        if asked.since is None and not asked.tests:
            order = self._world.order(kind.module, asked.column)
            return order.part(start, start + asked.per_page, descending=asked.descending), len(order)
        view = self._view(kind, asked)
        return view[start : start + asked.per_page].tolist(), len(view)

    def _view(self, kind: Kind, asked: Asked) -> array[int]:
        views = self._views.setdefault(kind.module, {})
        key = (asked.column, asked.descending, asked.since, asked.tests)
        if key not in views:
            if len(views) > 64:  # noqa: PLR2004 - cursors move on: old views would only pile up
                views.clear()
            views[key] = array("I", self._filtered(kind, asked))
        return views[key]

    def _filtered(self, kind: Kind, asked: Asked) -> list[int]:
        world, module = self._world, kind.module
        if asked.since is None:
            found = [index for index in world.order(module, asked.column) if self._passes(module, index, asked)]
        else:
            inclusive = self._switches().modified_comparator == "at_or_after"
            recent = world.order(module, MODIFIED).since(asked.since, inclusive=inclusive)
            found = [index for index in recent if self._passes(module, index, asked)]
            if asked.column != MODIFIED:
                found.sort(key=lambda index: (world.sort_key(world.facts(module, index), asked.column), index))
        return found[::-1] if asked.descending else found

    def _passes(self, module: str, index: int, asked: Asked) -> bool:
        if not asked.tests:
            return True
        if len(asked.tests) == 1 and asked.tests[0][:2] == ("contact_type", ""):
            return self._world.contact_type(index) == asked.tests[0][2]
        facts = self._world.facts(module, index)
        return all(_holds(facts, module, *test) for test in asked.tests)

    # --- answering

    def answer(self, kind: Kind, api: str, asked: Asked, *, shift: int = 0) -> Answer:
        """The page; `shift` lies about which one it is (a planted fault)."""
        page = asked.page
        if shift:
            asked = msgspec.structs.replace(asked, page=max(1, page + shift))
        indexes, total = self.chosen(kind, asked)
        context = self._context(kind, asked, page, total)
        if asked.total_only:
            body = {"code": 0, "message": "success", "page_context": context}
            return Answer(200, msgspec.json.encode(body))
        rows = b",".join([self._documents.row(kind.module, index, api) for index in indexes])
        head = b'{"code":0,"message":"success","%b":[' % kind.plural.encode()
        if kind.small and not self._switches().page_context_on_small_lists:
            return Answer(200, b"".join((head, rows, b"]}")))
        return Answer(200, b"".join((head, rows, b'],"page_context":', msgspec.json.encode(context), b"}")))

    def _context(self, kind: Kind, asked: Asked, page: int, total: int) -> Document:
        context: Document = {
            "page": page, "per_page": asked.per_page, "has_more_page": asked.page * asked.per_page < total,
            "report_name": kind.report,
        }  # fmt: skip
        if kind.applied_filter:
            context["applied_filter"] = asked.applied_filter
        if asked.total_only:
            pages = -(-total // asked.per_page)
            context |= {"total": total, "total_pages": pages, "response_option": 2}
        elif kind.module not in {"contacts", "users", "pricebooks"}:
            context["custom_fields"] = []
        if kind.module == "invoices":
            context["seller_app_sales_channels"] = ""
        if searched := [test for test in asked.tests if test[0] not in {"status", "contact", "contact_type"}]:
            context["search_criteria"] = [
                {"column_name": "search_text" if name == "*" else name, "search_text": text,
                 "search_text_formatted": text, "comparator": comparator.strip("_") or "is"}
                for name, comparator, text in searched
            ]  # fmt: skip
        return context | {"sort_column": asked.column, "sort_order": "D" if asked.descending else "A"}

    def everything(self, kind: Kind, api: str, limit: int = 1 << 30) -> list[bytes]:
        """All rows in id order, for the small lists that have no pages."""
        living = islice(self._world.living(kind.module), limit)
        return [self._documents.row(kind.module, index, api) for index in living]


def _snake(name: str) -> str:
    return "overdue" if name == "OverDue" else "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _holds(facts: Facts, module: str, name: str, comparator: str, text: str) -> bool:
    if name == "*":
        return any(text.casefold() in str(facts.get(key, "")).casefold() for key in SEARCHED[module][:4])
    value = facts.get(name, "")
    if isinstance(value, float) and not comparator:
        return str(value) == text or str(int(value)) == text
    return (name, text) == ("status", "lowstock") or COMPARE[comparator](str(value).casefold(), text.casefold())
