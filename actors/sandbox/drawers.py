"""Modules that hold only what clients put into them: estimates, journals, taxes, workflows and some seventy more."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.sandbox.answers import Answer, invalid, missing, success, unknown_path
from actors.sandbox.clock import Clock, parse_stamp
from actors.sandbox.modules import (
    DRAFTS,
    FILTERS_MODIFIED,
    FOLDERS,
    NUMBERS,
    PLACES,
    REPORTS,
    UNPAGED,
    known,
    named,
    seeds,
    single_pages,
)
from actors.sandbox.paper import PRINTED, printed, wanted_form
from actors.sandbox.parts import NAMES as PART_NAMES
from actors.sandbox.parts import Parts
from actors.sandbox.request import Call, whole_number
from actors.sandbox.shapes import Document

MOST = 200


class Drawers:
    """Records by module, as they were written; `on_write` hears of every module that changed."""

    def __init__(self, clock: Clock, parts: Parts, *, edition: str) -> None:
        self._clock = clock
        self._parts = parts
        self._kept: dict[str, dict[str, Document]] = {}
        self._made = 0
        self.on_write: list[Callable[[str], None]] = []
        self._pages = {name: dict(page) for name, page in single_pages().items()}
        for module, rows in seeds(edition).items():
            self._kept[module] = {str(row[named(module)[2]]): dict(row) for row in rows}

    def rows(self, module: str) -> list[Document]:
        """What a module holds."""
        return list(self._kept.get(module, {}).values())

    def _place(self, call: Call) -> tuple[str, tuple[str, ...]]:
        """The module and what follows it; refuses unknown modules with code 5."""
        parts = call.parts[1:] if call.parts and call.parts[0] in FOLDERS else call.parts
        if len(parts) > 1:
            parts = (*PLACES.get((parts[0], parts[1]), parts[:2]), *parts[2:])
        if not parts or not known(parts[0]):
            raise unknown_path()
        return parts[0], parts[1:]

    # --- reading

    def get(self, call: Call) -> Answer:
        """A list, a record, a part of a record, or one of the settings pages."""
        page = self._pages.get("/".join(call.parts[1:])) if call.parts[:1] == ("settings",) else None
        if page is not None:
            return success(page)
        module, rest = self._place(call)
        if not rest:
            return self._list(call, module)
        record = self._kept.get(module, {}).get(rest[0])
        if record is None:
            return self._elsewhere(module, rest)
        if len(rest) > 1:
            return self._parts.read(module, rest[0], rest[1:], record)
        form = wanted_form(call) if module in PRINTED else ""
        return printed(record, form) if form else success({named(module)[1]: record})

    def _elsewhere(self, module: str, rest: tuple[str, ...]) -> Answer:
        """A path below a module that names no record: its templates, its papers, a part of whichever record."""
        if rest[0].isdigit():
            raise missing()
        if rest[0] == "templates":
            return success({"templates": self.rows("templates")})
        if module in PRINTED and rest[0] in {"pdf", "print"}:
            return printed({}, "pdf")
        if rest[0] in PART_NAMES:
            return self._parts.everywhere(module, rest[0], "".join(rest[1:2]))
        if rest[-1] == "me":
            return success({named(module)[1]: {}})
        return success({rest[-1]: []})

    def _list(self, call: Call, module: str) -> Answer:
        query = call.query
        rows = [row for row in self.rows(module) if _passes(row, query)]
        if module == "categories" and query.get("include_root_category") == "false":
            rows = [row for row in rows if row["category_id"] != "-1"]
        if module in FILTERS_MODIFIED and query.get("last_modified_time"):
            rows = _since(rows, query["last_modified_time"])
        plural = named(module)[0]
        if module in UNPAGED:
            return success({plural: rows})
        page, per_page = whole_number(query, "page", 1), min(MOST, whole_number(query, "per_page", MOST))
        context = self._context(module, query) | {
            "page": page, "per_page": per_page, "has_more_page": page * per_page < len(rows),
        }  # fmt: skip
        if query.get("response_option") == "2":
            pages = -(-len(rows) // per_page)
            return success({"page_context": context | {"total": len(rows), "total_pages": pages, "response_option": 2}})
        return success({plural: rows[(page - 1) * per_page : page * per_page], "page_context": context})

    def _context(self, module: str, query: dict[str, str]) -> Document:
        taxes = {"as_of_date": "", "to_date": ""} if module == "taxes" else {}
        return {
            "page": 1, "per_page": MOST, "has_more_page": False, "report_name": REPORTS.get(module, module.title()),
            "applied_filter": query.get("filter_by") or "Status.All", "custom_fields": [], **taxes,
            "sort_column": query.get("sort_column") or "created_time", "sort_order": query.get("sort_order") or "D",
        }  # fmt: skip

    # --- writing

    def write(self, call: Call) -> Answer:
        """Create, update, delete, or an action on a record, which is acknowledged and may set its status."""
        page = self._pages.get("/".join(call.parts[1:])) if call.parts[:1] == ("settings",) else None
        if page is not None:
            key = next(iter(page))
            page[key] = page[key] | call.document()
            return success(page, "The preferences have been saved.")
        module, rest = self._place(call)
        _, singular, _ = named(module)
        label = singular.replace("_", " ")
        if not rest:
            if call.method == "POST":
                return self._create(call, module)
            return success({}, f"The {label} has been updated.")
        record = self._kept.get(module, {}).get(rest[0])
        if record is None:
            if rest[0].isdigit():
                raise missing()
            return success({}, f"The {label} has been saved.")
        return self._change(call, module, rest, record)

    def _change(self, call: Call, module: str, rest: tuple[str, ...], record: Document) -> Answer:
        singular = named(module)[1]
        label = singular.replace("_", " ")
        if len(rest) > 1:
            if rest[1] not in {"active", "inactive", "status", "mark_active", "mark_inactive"}:
                return self._parts.write(call, module, rest[0], rest[1:], label)
            record["status"] = rest[-1].removeprefix("mark_")
        elif call.method == "DELETE":
            del self._kept[module][rest[0]]
        else:
            record |= call.document() | {"last_modified_time": self._clock.stamp(self._clock.now())}
        self._tell(module)
        done = "deleted" if call.method == "DELETE" else "updated"
        return success({singular: record}, f"The {label} has been {done}.")

    def _create(self, call: Call, module: str) -> Answer:
        _, singular, id_key = named(module)
        self._made += 1
        record_id, now = f"5260818{self._made:012d}", self._clock.stamp(self._clock.now())
        body = call.document()
        record = {
            id_key: record_id, **self._begun(module, body), **body, "created_time": now, "last_modified_time": now,
        }  # fmt: skip
        self._kept.setdefault(module, {})[record_id] = record
        self._tell(module)
        answer = success({singular: record}, f"The {singular.replace('_', ' ')} has been added.", 201)
        folder = "settings/" if call.parts[0] in FOLDERS else ""
        prefix = "v3" if call.api == "books" else "v1"
        location = (b"location", f"/api/{prefix}/{folder}{module}/{record_id}".encode())
        return msgspec.structs.replace(answer, headers=(location,))

    def _begun(self, module: str, body: Document) -> Document:
        """What the API itself adds to a new record: a number, a status, the sum of its lines."""
        begun: Document = {"status": "draft"} if module in DRAFTS else {}
        if module in NUMBERS:
            key, prefix = NUMBERS[module]
            begun |= {key: f"{prefix}{self._made:06d}", "date": self._clock.today()}
        lines = body.get("line_items")
        if isinstance(lines, list):
            total = round(sum(_worth(line) for line in lines), 2)
            begun |= {"sub_total": total, "total": total, "balance": total}
        return begun

    def _tell(self, module: str) -> None:
        for listener in self.on_write:
            listener(module)


def _passes(row: Document, query: dict[str, str]) -> bool:
    """Whether a row has what the query asks of keys that the row has; `search_text` looks into all text."""
    sought = query.get("search_text", "").casefold()
    if sought and not any(sought in value.casefold() for value in row.values() if isinstance(value, str)):
        return False
    return all(str(row[name]).casefold() == value.casefold() for name, value in query.items() if value and name in row)


def _since(rows: list[Document], text: str) -> list[Document]:
    """The rows that are as new as that or newer; refuses what is no strict time."""
    mark = parse_stamp(text)
    if mark is None:
        raise invalid("last_modified_time")
    return [row for row in rows if (parse_stamp(str(row.get("last_modified_time", ""))) or 0) >= mark]


def _worth(line: object) -> float:
    """Quantity times rate of a written line; what is no number is worth nothing."""
    if not isinstance(line, dict):
        return 0.0
    values = (line.get("quantity", 1), line.get("rate", 0))
    return float(values[0]) * float(values[1]) if all(isinstance(value, int | float) for value in values) else 0.0
