"""What a file in config/entities may say: the shape of a mapping, before anything is compiled from it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Type = Literal["text", "integer", "numeric", "boolean", "date", "timestamptz", "jsonb"]
Transform = Literal["trim", "lower", "empty_to_null"]
Facet = Literal["list", "detail", "row"]
Name = Annotated[str, Meta(min_length=1)]
Paths = str | Annotated[list[Name], Meta(min_length=1)]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where records of this entity are listed and read, one block per endpoint.

    Attributes:
        name: The variant, for an entity that is listed at two places (payments); empty otherwise.
        api: Whose endpoint it is.
        list: Path of the listing, below the API's root.
        list_key: Where the answer keeps its rows.
        detail: Path of one record, with `{id}` in it; empty when there is none.
        detail_key: Where that answer keeps the record.
        bulk: Path that answers many records by their ids at once.
        bulk_key: Where that answer keeps them.
        bulk_parameter: The query parameter that takes the ids, joined by commas.
        params: Query parameters of every listing.
        paged: Whether the listing has pages.
        count: Whether the listing can be counted (`response_option=2`).
        modified: What the listing can do about "changed since": filter, sort newest first, or nothing.
        sort: Query parameters that make an incremental listing come newest first.
        order: Query parameters that give a full listing an order that edits do not disturb.
        balances: Whether amounts in its rows move without touching the modified time, so that they need a sweep.
        details: Whether a changed list row needs a detail call before it can be written.
    """

    name: str = ""
    api: Literal["books", "inventory"]
    list: Name
    list_key: Name
    detail: str = ""
    detail_key: str = ""
    bulk: str = ""
    bulk_key: str = ""
    bulk_parameter: str = ""
    params: dict[str, str] = {}
    paged: bool = True
    count: bool = True
    modified: Literal["filter", "sort", "none"] = "none"
    sort: dict[str, str] = {}
    order: dict[str, str] = {}
    balances: bool = False
    details: Literal["never", "changed"] = "never"


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records of this entity are delivered.

    Attributes:
        paths: Last segments of the routes that stand for this entity.
        keys: Top-level keys of the default payload, each with the variant that it means (empty for none).
        when: Fields of the payload that must have these values, for entities that share a key (contacts).
        modules: Modules whose workflow rules tell of it, for `zoho webhooks install`; its keys when nothing is said,
            and [] where the source has no rules: then it is polled, and its routes are for whoever else posts.
    """

    paths: list[Name]
    keys: dict[str, str]
    when: dict[str, str] = {}
    modules: list[Name] | None = None


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a document says which record and which version of it this is."""

    id: Paths
    modified: Paths = []


class Column(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column of a target or child table.

    Attributes:
        path: Where the value stands: `a.b.0.c`, the first of several that is there, `cf_*` for an object of all
            matching keys, `@variant`, and in children `@position` and `@path`.
        type: What it is.
        required: Whether a document without it is no record.
        default: What stands for an absent or empty value.
        range: Least and greatest number, both included.
        max_length: In characters.
        scale: Decimal places to round to.
        transform: Done to text before anything else, in this order.
        equals: Makes a boolean: whether the text is one of these.
        facet: Which documents contain it: `list` all of them, `detail` all but list rows, `row` list rows only.
        owner: `local` columns are written when the row is inserted and never again.
        references: The entity whose id this is.
        measure: Whether its sum is worth comparing (amounts, stock).
    """

    path: Paths
    type: Type = "text"
    required: bool = False
    default: str | int | float | bool | None = None
    range: Annotated[list[float], Meta(min_length=2, max_length=2)] | None = None
    max_length: Annotated[int, Meta(ge=1)] | None = None
    scale: Annotated[int, Meta(ge=0, le=20)] | None = None
    transform: list[Transform] = []
    equals: str | list[str] | None = None
    facet: Facet = "list"
    owner: Literal["source", "local"] = "source"
    references: str = ""
    measure: bool = False


class Child(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows inside a document, kept as rows of a table of their own and replaced with their parent.

    Attributes:
        table: Their table.
        path: Where they stand: a list of objects, or one object.
        expand: A list inside each of them; every entry of it becomes a row (price brackets).
        key: What tells the rows of one parent apart; their position when it is absent.
        key_column: The column that keeps the key, unique together with the parent.
        parent_column: The column that says whose they are.
        parent: Whether that is the source's id or the local one.
        local_id: The child's own primary key.
        facet: `list` when list rows contain them too; otherwise only details and webhooks do.
        columns: The rest.
    """

    table: Name
    path: Paths
    expand: str = ""
    key: Paths = []
    key_column: Name
    parent_column: Name
    parent: Literal["source", "local"] = "source"
    local_id: str = "id"
    facet: Literal["list", "detail"] = "detail"
    columns: dict[str, Column]


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table that the records are written to.

    Attributes:
        table: Its name, with its schema before a dot where needed.
        id_column: The column that holds the source's id; must be unique.
        local_id: The table's own primary key; empty when it has none that matters.
        touched: A timestamptz column that is set whenever a row is written; empty for none.
        active: The boolean column that `deactivate` clears.
        on_delete: What a deletion in the source means here.
        adopt: Whether a table that the daemon did not create may be written.
        unknown: A jsonb column that keeps the keys nobody mapped; empty to let them go.
    """

    table: Name
    id_column: Name
    local_id: str = "id"
    touched: str = "updated_at"
    active: str = ""
    on_delete: Literal["deactivate", "delete", "keep"] = "keep"
    adopt: bool = False
    unknown: str = ""


class Mapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: an entity from its endpoint to its table.

    Attributes:
        ignored: Keys that are known and not wanted, so that only new ones count as drift.
    """

    source: Annotated[list[Source], Meta(min_length=1)]
    webhook: Webhook | None = None
    record: Record
    target: Target
    columns: dict[str, Column]
    children: list[Child] = []
    ignored: list[str] = []
