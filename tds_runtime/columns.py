"""How the queue's records are laid out as the arrays that its statements take, in the order that prevents deadlocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tds_runtime.database import storable
from tds_runtime.task import Change, Completion, Failure, Fetched, Selection, digest

SEPARATOR = "\x1e"
"""Between JSON texts: none of them has it, because control characters are escaped there."""

_encode = msgspec.json.Encoder().encode


def of_changes(changes: Sequence[Change]) -> tuple[str, list[bytes | None]]:
    """For queue/enqueue, which sorts by key itself: rows as JSON, because twenty arrays cost four times as much."""
    rows = [
        {
            "entity_type": one.entity_type,
            "source_entity_id": one.source_entity_id,
            "operation": one.operation,
            "payload_kind": one.payload_kind,
            "payload_hash": None if one.payload is None else digest(one.payload).hex(),
            "variant": one.variant,
            "source_modified_at": one.source_modified_at,
            "observed_at": one.observed_at,
            "priority": one.priority,
            "run_id": one.run_id,
            "correlation_id": one.correlation_id,
            "reason": one.reason,
            "coalesced": one.coalesced,
        }
        for one in changes
    ]
    return encoded(rows), [one.payload for one in changes]


def of_completions(completions: Sequence[Completion]) -> tuple[str, str, str, str]:
    """For queue/complete: ids, fences and outcomes as the texts of arrays, and the results."""
    ordered = by_id(completions)
    return (
        f"{{{','.join([str(one.id) for one in ordered])}}}",
        f"{{{','.join([str(one.fence) for one in ordered])}}}",
        f"{{{','.join([one.outcome for one in ordered])}}}",
        SEPARATOR.join(["" if one.result is None else one.result.decode() for one in ordered]),
    )


def by_id(given: Sequence[Any]) -> list[Any]:
    """Sort by id: rows are always locked in this order."""
    return sorted(given, key=lambda one: one.id)


def encoded(rows: Sequence[dict[str, Any]]) -> str:
    """Encode rows for json_to_recordset."""
    return _encode(rows).decode()


def of_failures(failures: Sequence[Failure]) -> tuple[list[Any], ...]:
    """For queue/retry and queue/bury."""
    return (
        [one.id for one in failures],
        [one.fence for one in failures],
        [storable(one.error_code) for one in failures],
        [storable(one.error_message) for one in failures],
        [storable(one.traceback) for one in failures],
    )


def of_answers(answers: Sequence[Fetched]) -> tuple[list[Any], ...]:
    """For queue/fetched."""
    return (
        [one.id for one in answers],
        [one.fence for one in answers],
        [one.operation for one in answers],
        [one.payload for one in answers],
        [None if one.payload is None else digest(one.payload) for one in answers],
        [one.source_modified_at for one in answers],
        [one.observed_at for one in answers],
        [one.variant for one in answers],
    )


def of_leases(leases: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Ids and fences."""
    ordered = sorted(leases)
    return [lease for lease, _ in ordered], [fence for _, fence in ordered]


def of_selection(selection: Selection) -> tuple[Any, ...]:
    """Conditions, NULL where none was given."""
    ids = None if selection.ids is None else sorted(selection.ids)
    return (
        ids,
        selection.entity_type,
        selection.source_entity_id,
        selection.error_code,
        selection.older_than,
        selection.retried_at_most,
    )
