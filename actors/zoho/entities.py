"""The entities: each mapping file compiled once, at start, into what reads, maps and writes its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from actors.zoho import checks, mapping, pages, payload, tables, target
from actors.zoho.columns import Unfit, default_of
from actors.zoho.documents import Fault, Kind, Mapped, RecordInvalid, Shape, unwrapped
from actors.zoho.drafts import Drafts
from actors.zoho.mapping import Record, Webhook
from actors.zoho.pages import Page, Row
from actors.zoho.payload import Document, Malformed
from actors.zoho.tables import Table
from actors.zoho.target import Children, Field, Target
from tds_runtime import config, document
from tds_runtime.errors import ConfigError, Problem


class Source(Struct, frozen=True, kw_only=True):
    """One endpoint, as the client needs it; see `mapping.Source` for what each means.

    Attributes:
        name: The variant; empty when the entity has one source only.
        detail_path: With `{id}` in it; None when records cannot be read one by one.
        bulk_path: None when they cannot be read many by their ids.
    """

    entity: str
    name: str
    api: str
    list_path: str
    list_key: str
    detail_path: str | None
    detail_key: str
    bulk_path: str | None
    bulk_key: str
    bulk_parameter: str
    params: dict[str, str]
    paged: bool
    countable: bool
    modified: str
    sort: dict[str, str]
    order: dict[str, str]
    balances: bool
    details: str


class Entity:
    """One entity: where it comes from, how it is read, where it goes."""

    def __init__(self, name: str, source: mapping.Mapping, path: Path = Path()) -> None:
        fields = _fields(source)
        shapes = {child.table: _child_fields(child) for child in source.children}
        self.name = name
        self.path = path
        self.mapping = source
        self.sources = tuple(_source(name, one) for one in source.source)
        self.shape = Shape(source, fields)
        self.drafts = Drafts()
        self.target: Target = target.compiled(source.target, fields, _children(source, shapes))
        self.tables: tuple[Table, ...] = (
            tables.of_target(name, source.target, fields),
            *(tables.of_child(name, source.target, child, shapes[child.table]) for child in source.children),
        )

    def __repr__(self) -> str:
        return f"Entity({self.name!r})"

    @property
    def fingerprint(self) -> str:
        """Of what the file says; another one is a reason to try dead letters again."""
        return payload.fingerprint(self.mapping)

    @property
    def webhook(self) -> Webhook | None:
        return self.mapping.webhook

    @property
    def record(self) -> Record:
        return self.mapping.record

    @property
    def on_delete(self) -> str:
        return self.mapping.target.on_delete

    @property
    def can_refetch(self) -> bool:
        """Whether a record can be asked for by its id."""
        return all(source.detail_path for source in self.sources)

    @property
    def has_details(self) -> bool:
        """Whether a list row is not all of a record."""
        return any(source.details != "never" for source in self.sources)

    @property
    def references(self) -> dict[str, str]:
        """Column to the entity whose id it holds."""
        return {field.name: field.references for field in self.target.fields if field.references}

    def variant_of(self, source: Source) -> str:
        """The variant that tells this source's records from others of the entity; empty where there are no others."""
        return source.name if len(self.sources) > 1 else ""

    def source(self, variant: str = "") -> Source:
        """The source block of a variant; the first one for an unknown variant."""
        return next((source for source in self.sources if source.name == variant), self.sources[0])

    def map(
        self, body: bytes, kind: Kind, *, content_type: str = "application/json", variant: str = "", record_id: str = ""
    ) -> Mapped:
        """Map one record.

        Args:
            body: A list row or detail alone, or a webhook's body as it came.
            kind: Which of the three it is.
            content_type: Of a webhook.
            variant: The source block it came from.
            record_id: Whose it must be, when that is known.

        Raises:
            RecordInvalid: It is malformed, another record's, or does not fit its columns.
        """
        mapped = self.drafts.take(body, kind, variant) or self._map(body, kind, content_type, variant)
        if record_id and mapped.id != record_id:
            raise RecordInvalid([Fault("id", "is another record's")])
        return mapped

    def _map(self, body: bytes, kind: Kind, content_type: str, variant: str) -> Mapped:
        try:
            record = self._record(body, kind, content_type)
        except Malformed as error:
            raise RecordInvalid([Fault("document", str(error))]) from error
        return self.shape.map(record, kind, variant)

    def _record(self, body: bytes, kind: Kind, content_type: str) -> Document:
        if kind == "webhook":
            found = payload.delivered(body, content_type)
        else:
            found = self.shape.read(body) if kind == "detail" else payload.parse(body)
        if kind == "list" and isinstance(found, dict):
            return found  # list rows come alone, and are many
        keys = self.webhook.keys if self.webhook and kind == "webhook" else ()
        return unwrapped(found, [*keys, *(source.detail_key for source in self.sources)], self._is_record)

    def _is_record(self, record: Document) -> bool:
        try:
            return bool(self.shape.identity(record))
        except Unfit:
            return False

    def read_page(self, source: Source, body: bytes) -> Page:
        """The rows of a listing's answer; `SourceAnswerInvalid` for what is none."""
        return pages.read_page(self.shape, source.list_key, body, source.name)

    def read_detail(self, source: Source, body: bytes) -> Row:
        """The record of a detail answer."""
        return pages.read_detail(self.shape, source.detail_key, body, source.name)

    def read_bulk(self, source: Source, body: bytes) -> tuple[Row, ...]:
        """The records of a bulk answer."""
        return pages.read_bulk(self.shape, source.bulk_key, body, source.name)

    def ddl(self) -> tuple[str, ...]:
        """What creates the default tables, in order; see `tables.create_missing` for doing so where they are absent."""
        return tuple(statement for table in self.tables for statement in table.statements)


class Entities:
    """All entities by name; iterating gives the entities themselves, in the order of their names."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._entities = {entity.name: entity for entity in sorted(entities, key=lambda entity: entity.name)}

    def __getitem__(self, name: str) -> Entity:
        return self._entities[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entities

    def __iter__(self) -> Iterator[Entity]:
        return iter(self._entities.values())

    def __len__(self) -> int:
        return len(self._entities)

    def get(self, name: str) -> Entity | None:
        """The entity of a name, None when there is none."""
        return self._entities.get(name)

    @property
    def fingerprint(self) -> str:
        """Of all mappings together."""
        return payload.fingerprint([(entity.name, entity.fingerprint) for entity in self])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entities)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of every entity, parents before their children."""
        return tuple(table for entity in self for table in entity.tables)


def load(directory: Path) -> Entities:
    """Compile every mapping in a directory.

    Raises:
        ConfigError: With every problem of every file, each with its file, line and column.
    """
    problems: list[Problem] = []
    found: dict[str, tuple[mapping.Mapping, document.Document]] = {}
    for path in sorted(directory.glob("*.toml")):
        try:
            read = document.read(path)
            found[path.stem] = config.decode(read, mapping.Mapping), read
        except ConfigError as error:
            problems += error.problems
    for name, (source, read) in found.items():
        problems += checks.of_file(name, source, read)
    problems += checks.of_all(found)
    if not found and not problems:
        problems.append(Problem(message="there is no mapping in it", file=str(directory)))
    if problems:
        raise ConfigError(problems)
    return Entities(Entity(name, source, read.path) for name, (source, read) in found.items())


def _source(entity: str, source: mapping.Source) -> Source:
    return Source(
        entity=entity,
        name=source.name,
        api=source.api,
        list_path=source.list,
        list_key=source.list_key,
        detail_path=source.detail or None,
        detail_key=source.detail_key,
        bulk_path=source.bulk or None,
        bulk_key=source.bulk_key,
        bulk_parameter=source.bulk_parameter,
        params=source.params,
        paged=source.paged,
        countable=source.count,
        modified=source.modified,
        sort=source.sort,
        order=source.order,
        balances=source.balances,
        details=source.details,
    )


def _fields(source: mapping.Mapping) -> list[Field]:
    fields = [_field(name, column) for name, column in source.columns.items()]
    if source.target.unknown:
        fields.append(Field(name=source.target.unknown, type="jsonb", facet=""))
    return fields


def _child_fields(child: mapping.Child) -> list[Field]:
    return [_field(name, column) for name, column in child.columns.items()]


def _field(name: str, column: mapping.Column) -> Field:
    return Field(
        name=name,
        type=column.type,
        facet=column.facet,
        local=column.owner == "local",
        required=column.required,
        default=default_of(column),
        references=column.references,
        measure=column.measure,
        longest=column.max_length,
        scale=column.scale,
        range=None if column.range is None else (column.range[0], column.range[1]),
    )


def _children(source: mapping.Mapping, shapes: dict[str, list[Field]]) -> list[Children]:
    return [target.compiled_children(source.target, child, shapes[child.table]) for child in source.children]
