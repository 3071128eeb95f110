"""`dlq`: what was given up and why; trying it again; letting it go."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec
from cyclopts import App

from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.queue import moved, opened
from tds_runtime.cli.session import C, Session
from tds_runtime.oversight import AT_A_TIME
from tds_runtime.queue import DeadLetter, Queue, Selection


def register(app: App, session: Session[C]) -> None:
    """Add `dlq` to the command line."""
    letters = App(name="dlq", help="Dead letters: tasks that were given up, with the reason.")
    app.command(letters)
    for add in (_add_list, _add_retry, _add_discard):
        add(letters, session)


def _add_list(letters: App, session: Session[C]) -> None:
    @letters.command(name="list")
    async def list_(
        *, entity: str = "", error: str = "", limit: int = 50, before: int | None = None, json: bool = False
    ) -> None:
        """Show dead letters that nobody has resolved, the newest first.

        Args:
            entity: only of this entity.
            error: only with this error code.
            limit: how many.
            before: go on below this id.
            json: print JSON, with tracebacks and attempts.
        """
        settings = session.load().value
        chosen = _chosen((), entity, error)
        async with session.database(settings.database) as database:
            queue = opened(session, database)
            found = await queue.dead_letters(chosen, before=before, limit=limit)
            total = await queue.count_dead(chosen)
        if json:
            session.output.data({"dead_letters": [_whole(letter) for letter in found], "total": total})
        else:
            _print(session.output, found, total)


def _add_retry(letters: App, session: Session[C]) -> None:
    @letters.command
    async def retry(
        *ids: int,
        all: bool = False,  # noqa: A002 - the option's name
        entity: str = "",
        error: str = "",
        dry_run: bool = False,
        json: bool = False,
    ) -> None:
        """Try dead letters again, their attempts counted from zero.

        Args:
            *ids: the dead letters' ids.
            all: instead of ids: all of them, or all that --entity and --error leave.
            entity: with --all: only of this entity.
            error: with --all: only with this error code.
            dry_run: only say how many.
            json: print JSON.
        """
        chosen = _asked(ids, entity, error, everything=all)

        def retry_some(queue: Queue) -> Awaitable[int]:
            return queue.retry_dead(chosen, by=session.operator, limit=AT_A_TIME)

        if dry_run:
            count = await _count(session, chosen)
        else:
            count = await moved(session, chosen, retry_some, action="dead_letter.retry")
        _report(session.output, "retried", count, ids, dry_run=dry_run, json=json)


def _add_discard(letters: App, session: Session[C]) -> None:
    @letters.command
    async def discard(
        *ids: int,
        all: bool = False,  # noqa: A002 - the option's name
        entity: str = "",
        error: str = "",
        note: str,
        yes: bool = False,
        dry_run: bool = False,
        json: bool = False,
    ) -> None:
        """Let dead letters go; they stay on record as discarded.

        Args:
            *ids: the dead letters' ids.
            all: instead of ids: all of them, or all that --entity and --error leave.
            entity: with --all: only of this entity.
            error: with --all: only with this error code.
            note: why, for whoever looks next.
            yes: do not ask.
            dry_run: only say how many.
            json: print JSON.
        """
        chosen = _asked(ids, entity, error, everything=all)

        def discard_some(queue: Queue) -> Awaitable[int]:
            return queue.discard_dead(chosen, by=session.operator, note=note, limit=AT_A_TIME)

        count = await _count(session, chosen)
        if not dry_run:
            session.output.confirm(f"Discard {count} dead letters?", yes=yes)
            count = await moved(session, chosen, discard_some, action="dead_letter.discard", reason=note)
        _report(session.output, "discarded", count, ids, dry_run=dry_run, json=json)


def _asked(ids: tuple[int, ...], entity: str, error: str, *, everything: bool) -> Selection:
    if bool(ids) == everything:
        raise Ended("Say which dead letters: ids, or --all.", Exit.USAGE)
    return _chosen(ids, entity, error)


def _chosen(ids: tuple[int, ...], entity: str, error: str) -> Selection:
    return Selection(ids=ids or None, entity_type=entity or None, error_code=error or None)


async def _count(session: Session[C], chosen: Selection) -> int:
    settings = session.load().value
    async with session.database(settings.database) as database:
        return await opened(session, database).count_dead(chosen)


def _report(output: Output, verb: str, count: int, ids: tuple[int, ...], *, dry_run: bool, json: bool) -> None:
    if json:
        output.data({("would_be_" if dry_run else "") + verb: count})
    else:
        output.line(f"{count} {'would be ' if dry_run else ''}{verb}")
    if count < len(ids):
        raise Ended(f"{len(ids) - count} of them are no open dead letters.", Exit.NOT_FOUND)


def _whole(letter: DeadLetter) -> dict[str, Any]:
    return {**msgspec.structs.asdict(letter), "attempts": msgspec.Raw(letter.attempts.encode())}


def _print(output: Output, found: list[DeadLetter], total: int) -> None:
    columns = ("id", "entity", "record", "operation", "error", "message", "attempts", "buried")
    rows = [
        (
            letter.id,
            letter.entity_type,
            letter.source_entity_id,
            letter.operation,
            letter.error_code,
            letter.error_message[:120],
            letter.attempt_count,
            letter.buried_at,
        )
        for letter in found
    ]
    output.table(columns, rows)
    if found and total > len(found):
        output.note(f"{len(found)} of {total}; go on with --before {found[-1].id}")
