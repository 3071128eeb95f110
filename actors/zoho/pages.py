"""Reads the answers of the source: pages, details, bulk details. What is malformed is an error, never a skip."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from actors.zoho import payload
from actors.zoho.columns import Unfit
from actors.zoho.documents import Kind, Mapped, RecordInvalid, Shape
from actors.zoho.payload import Document, Malformed
from tds_runtime.errors import SourceAnswerInvalid


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """One record of an answer.

    Attributes:
        raw: The record alone, as the source wrote it.
        facets: Hash per facet, over mapped values; for a record that cannot be mapped, of its bytes.
        valid: Whether it can be mapped.
        mapped: What it was mapped to; None where it cannot be.
    """

    id: str
    modified_at: datetime | None
    raw: bytes
    facets: Mapping[str, str]
    valid: bool = True
    mapped: Mapped | None = None

    @property
    def hash(self) -> str:
        return payload.fingerprint(sorted(self.facets.items()))


class Page(Struct, frozen=True, kw_only=True):
    """One page of a listing; an answer without page_context is the only page there is.

    Attributes:
        total: How many records there are, in answers to a counting call only.
    """

    rows: tuple[Row, ...]
    has_more: bool = False
    page: int = 1
    per_page: int = 0
    sort_column: str = ""
    sort_order: str = ""
    applied_filter: str = ""
    total: int | None = None


class _PageContext(Struct, frozen=True):
    page: int = 1
    per_page: int = 0
    has_more_page: bool = False
    sort_column: str = ""
    sort_order: str = ""
    applied_filter: str = ""
    total: int | None = None


def read_page(shape: Shape, list_key: str, body: bytes, variant: str = "") -> Page:
    """Read one page; `SourceAnswerInvalid` for anything but a list of records with ids."""
    answer = _envelope(body)
    rows = tuple(_row(shape, raw, "list", variant) for raw in _listed(answer, list_key))
    if "page_context" not in answer:
        return Page(rows=rows)
    context = _converted(answer["page_context"], _PageContext)
    return Page(
        rows=rows,
        has_more=context.has_more_page,
        page=context.page,
        per_page=context.per_page,
        sort_column=context.sort_column,
        sort_order=context.sort_order,
        applied_filter=context.applied_filter,
        total=context.total,
    )


def read_detail(shape: Shape, detail_key: str, body: bytes, variant: str = "") -> Row:
    """Read the answer of a detail call."""
    answer = _envelope(body)
    if detail_key not in answer:
        raise SourceAnswerInvalid(f"the answer has no {detail_key}")
    return _row(shape, answer[detail_key], "detail", variant)


def read_bulk(shape: Shape, bulk_key: str, body: bytes, variant: str = "") -> tuple[Row, ...]:
    """Read the answer of a bulk detail call; its records are read as details."""
    return tuple(_row(shape, raw, "detail", variant) for raw in _listed(_envelope(body), bulk_key))


_decode_envelope = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def _envelope(body: bytes) -> dict[str, Raw]:
    try:
        return payload.guarded(_decode_envelope, body)
    except Malformed as error:
        raise SourceAnswerInvalid(f"the answer is no JSON object: {error}") from error


def _listed(answer: Mapping[str, Raw], key: str) -> list[Raw]:
    if key not in answer:
        raise SourceAnswerInvalid(f"the answer has no {key}")
    try:
        return payload.guarded(_decode_list, bytes(answer[key]))
    except Malformed as error:
        raise SourceAnswerInvalid(f"{key} is no list: {error}") from error


def _converted(raw: Raw, shape: type[_PageContext]) -> _PageContext:
    try:
        return payload.guarded(msgspec.json.Decoder(shape, strict=False).decode, bytes(raw))
    except Malformed as error:
        raise SourceAnswerInvalid(f"page_context is not understood: {error}") from error


def _row(shape: Shape, raw: Raw, kind: Kind, variant: str) -> Row:
    record = bytes(raw)
    try:
        document = shape.read(record) if kind == "detail" else payload.parse(record)
    except Malformed as error:
        raise SourceAnswerInvalid(f"a record is malformed: {error}") from error
    if not isinstance(document, dict):
        raise SourceAnswerInvalid("a record is no object")
    return _mapped(shape, document, record, kind, variant)


def _mapped(shape: Shape, document: Document, record: bytes, kind: Kind, variant: str) -> Row:
    try:
        mapped = shape.map(document, kind, variant)
    except RecordInvalid:
        return _unmapped(shape, document, record)
    return Row(id=mapped.id, modified_at=mapped.modified_at, raw=record, facets=mapped.facets, mapped=mapped)


def _unmapped(shape: Shape, document: Document, record: bytes) -> Row:
    """A row that will be buried with its reason later, as long as it can be named."""
    try:
        found = shape.identity(document)
    except Unfit as error:
        raise SourceAnswerInvalid("a record has no id") from error
    facets = {"invalid": payload.fingerprint(record)}
    return Row(id=found, modified_at=_stamp(shape, document), raw=record, facets=facets, valid=False)


def _stamp(shape: Shape, document: Document) -> Any:
    try:
        return shape.stamp(document)
    except Unfit:
        return None
