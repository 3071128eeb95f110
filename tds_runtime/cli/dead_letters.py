"""`dlq`: what was given up and why; trying it again; letting it go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from cyclopts import App

from tds_runtime import audit
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.queue import opened
from tds_runtime.cli.session import C, Session
from tds_runtime.queue import DeadLetter, Queue, Selection

_PORTION = 1_000


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
        moved = await _moved(
            session,
            chosen,
            lambda queue: queue.retry_dead(chosen, by=session.operator, limit=_PORTION),
            dry_run=dry_run,
            action="dead_letter.retry",
        )
        _report(session.output, "retried", moved, ids, dry_run=dry_run, json=json)


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
            return queue.discard_dead(chosen, by=session.operator, note=note, limit=_PORTION)

        if not dry_run:
            count = await _moved(session, chosen, discard_some, dry_run=True, action="")
            session.output.confirm(f"Discard {count} dead letters?", yes=yes)
        action = "dead_letter.discard"
        moved = await _moved(session, chosen, discard_some, dry_run=dry_run, action=action, reason=note)
        _report(session.output, "discarded", moved, ids, dry_run=dry_run, json=json)


def _asked(ids: tuple[int, ...], entity: str, error: str, *, everything: bool) -> Selection:
    if bool(ids) == everything:
        raise Ended("Say which dead letters: ids, or --all.", Exit.USAGE)
    return _chosen(ids, entity, error)


def _chosen(ids: tuple[int, ...], entity: str, error: str) -> Selection:
    return Selection(ids=ids or None, entity_type=entity or None, error_code=error or None)


async def _moved(
    session: Session[C],
    chosen: Selection,
    move: Callable[[Queue], Awaitable[int]],
    *,
    dry_run: bool,
    action: str,
    reason: str = "",
) -> int:
    """Move all that is chosen, a portion at a time, note the action and return how many; only count in a dry run."""
    settings = session.load().value
    async with session.database(settings.database) as database:
        queue = opened(session, database)
        if dry_run:
            return await queue.count_dead(chosen)
        total = portion = await move(queue)
        while portion == _PORTION:
            portion = await move(queue)
            total += portion
        if total:
            entity, detail = chosen.entity_type or "", {"selection": chosen, "moved": total}
            await audit.note(database, session.operator, action, reason=reason, entity=entity, detail=detail)
        return total


def _report(output: Output, verb: str, moved: int, ids: tuple[int, ...], *, dry_run: bool, json: bool) -> None:
    if json:
        output.data({("would_be_" if dry_run else "") + verb: moved})
    else:
        output.line(f"{moved} {'would be ' if dry_run else ''}{verb}")
    if moved < len(ids):
        raise Ended(f"{len(ids) - moved} of them are no open dead letters.", Exit.NOT_FOUND)


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
