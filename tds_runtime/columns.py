"""How the queue's records are laid out as the arrays that its statements take, in the order that prevents deadlocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tds_runtime.database import storable
from tds_runtime.task import Change, Completion, Failure, Fetched, Selection, digest


def of_changes(changes: Sequence[Change]) -> tuple[list[Any], ...]:
    """For queue/enqueue; the statement itself sorts by key."""
    rows = (
        (
            one.entity_type, one.source_entity_id, one.operation, one.payload, one.payload_kind, one.payload_hash,
            one.variant, one.source_modified_at, one.observed_at, one.priority, one.run_id, one.correlation_id,
            one.reason, one.coalesced,
        )
        for one in changes
    )  # fmt: skip
    return tuple(map(list, zip(*rows, strict=True)))


def of_completions(completions: Sequence[Completion]) -> tuple[list[Any], ...]:
    """For queue/complete."""
    ordered = by_id(completions)
    return (
        [one.id for one in ordered],
        [one.fence for one in ordered],
        [one.outcome for one in ordered],
        [None if one.result is None else one.result.decode() for one in ordered],
    )


def by_id(given: Sequence[Any]) -> list[Any]:
    """Sort by id: rows are always locked in this order."""
    return sorted(given, key=lambda one: one.id)


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
