"""`alert`: what a person should look at, saying that somebody does, of what nobody is told, and trying a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cyclopts import App

from actors.alerting import acting, letters, ways
from actors.alerting.channels import Undelivered
from actors.alerting.routing import Matchers, Silence
from actors.alerting.rules import Severity
from actors.configuration import Config
from tds_runtime import audit
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.cli.session import duration
from tds_runtime.config import plain, secrets
from tds_runtime.redaction import Redactor

COLUMNS = ("id", "severity", "alert_type", "title", "occurrences", "created_at", "acknowledged_by", "muted")
FACTS = (
    "id", "alert_type", "severity", "cause", "title", "message", "occurrences", "first_seen_at", "last_seen_at",
    "created_at", "resolved_at", "acknowledged_by", "acknowledged_until", "comment", "notified_at", "escalation_level",
    "muted", "runbook", "labels", "metadata",
)  # fmt: skip


def register(app: App, session: Session[Config]) -> None:
    """Add `alert` to the command line."""
    verbs = App(name="alert", help="What a person should look at.")
    app.command(verbs)
    _reading(verbs, session)
    _explaining(verbs, session)
    _acting(verbs, session)
    _silencing(verbs, session)
    _ending(verbs, session)
    _trying(verbs, session)


def _reading(verbs: App, session: Session[Config]) -> None:
    @verbs.command(name="list")
    async def list_(*, all: bool = False, limit: int = 50, json: bool = False) -> None:  # noqa: A002 - the option's name
        """Show open alerts, the newest first.

        Args:
            all: also those that are resolved.
            limit: how many.
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            rows = await acting.listed(database, resolved=all, limit=limit)
        if json:
            session.output.data({"alerts": rows})
        else:
            session.output.table(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])

    @verbs.command
    async def show(number: int, /, *, json: bool = False) -> None:
        """Show one alert, what happened to it, and who was or was not told.

        Args:
            number: the alert's id.
            json: print JSON.
        """
        found = await _read(session, number)
        if json:
            session.output.data(found)
            return
        session.output.pairs({name: found[name] for name in FACTS if found[name] not in (None, "", {})})
        session.output.line("")
        _events(session, found["events"])
        columns = ("id", "channel", "kind", "status", "reason", "attempt_count", "created_at", "ended_at")
        session.output.line("")
        session.output.table(columns, [[row[column] for column in columns] for row in found["notifications"]])


def _explaining(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def events(number: int, /, *, json: bool = False) -> None:
        """Show what happened to an alert, also why nobody was told.

        Args:
            number: the alert's id.
            json: print JSON.
        """
        found = await _read(session, number)
        if json:
            session.output.data({"events": found["events"]})
        else:
            _events(session, found["events"])

    @verbs.command
    def rules(*, json: bool = False) -> None:
        """Show the rules, as they are configured.

        Args:
            json: print JSON.
        """
        found = session.load().value.alert
        if json:
            session.output.data({"rules": {name: plain(rule) for name, rule in found.items()}})
            return
        columns = ("rule", "kind", "about", "for", "severity", "runbook")
        rows = [
            (name, rule.kind if rule.enabled else "off", rule.metric or ", ".join(rule.filter.names) or "-",
             rule.for_, rule.severity, rule.runbook)
            for name, rule in found.items()
        ]  # fmt: skip
        session.output.table(columns, rows)


def _events(session: Session[Config], rows: Sequence[dict[str, Any]]) -> None:
    columns = ("at", "kind", "detail", "actor")
    session.output.table(columns, [[row[column] for column in columns] for row in rows])


async def _read(session: Session[Config], number: int) -> dict[str, Any]:
    settings = session.load().value
    async with session.database(settings.database) as database:
        found = await acting.read(database, number)
    if found is None:
        raise Ended(f"there is no alert {number}.", Exit.NOT_FOUND)
    return found


def _acting(verbs: App, session: Session[Config]) -> None:
    @verbs.command(name=["acknowledge", "ack"])
    async def acknowledge(number: int, /, *, comment: str, expires: str = "") -> None:
        """Say that somebody looks at an alert; it stays open until its cause is gone, and is told again when this ends.

        Args:
            number: the alert's id.
            comment: what is being done.
            expires: for how long (such as 4h); `[alerter] acknowledged_for` when nothing is said.
        """
        settings = session.load().value
        seconds = duration(expires) if expires else settings.alerter.acknowledged_for
        async with session.database(settings.database) as database, database.transaction() as connection:
            until = await acting.acknowledge(connection, number, by=session.operator, comment=comment, seconds=seconds)
            if until is None:
                raise Ended(f"there is no open alert {number}.", Exit.NOT_FOUND)
            detail = {"alert": number, "until": until}
            await audit.note(connection, session.operator, "alert.acknowledge", reason=comment, detail=detail)
        session.output.note(f"alert {number} is acknowledged until {until:%Y-%m-%d %H:%M} UTC.")


def _silencing(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def silence(
        *,
        comment: str,
        expires: str,
        type: str = "",  # noqa: A002 - the option's name
        severity: Severity | None = None,
        cause: str = "",
        all: bool = False,  # noqa: A002 - the option's name
        json: bool = False,
    ) -> None:
        """Tell nobody of some alerts for a while; they are still kept, and their logs say so.

        Args:
            comment: why.
            expires: for how long (such as 2h).
            type: alerts of this type.
            severity: alerts of this severity.
            cause: alerts of this cause.
            all: every alert.
            json: print JSON.
        """
        matchers = Matchers(type=type or (), severity=severity or (), cause=cause or ())
        if matchers.is_empty and not all:
            raise Ended("name --type, --severity or --cause, or say --all.", Exit.USAGE)
        settings = session.load().value
        async with session.database(settings.database) as database, database.transaction() as connection:
            made = await acting.silence(
                connection, matchers, author=session.operator, comment=comment, seconds=duration(expires)
            )
            await audit.note(connection, session.operator, "silence.create", reason=comment, detail=made)
        if json:
            session.output.data(plain(made))
        else:
            session.output.note(f"silence {made.id} until {made.expires_at:%Y-%m-%d %H:%M} UTC.")


def _ending(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def unsilence(number: int, /, *, comment: str = "by hand") -> None:
        """End a silence at once.

        Args:
            number: the silence's id.
            comment: why.
        """
        settings = session.load().value
        async with session.database(settings.database) as database, database.transaction() as connection:
            if not await acting.unsilence(connection, number):
                raise Ended(f"there is no silence {number} that is not over.", Exit.NOT_FOUND)
            await audit.note(connection, session.operator, "silence.expire", reason=comment, detail={"silence": number})
        session.output.note(f"silence {number} is over.")

    @verbs.command
    async def silences(*, all: bool = False, json: bool = False) -> None:  # noqa: A002 - the option's name
        """Show the silences.

        Args:
            all: also those that are over.
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            found = await acting.silences(database, over=all)
        if json:
            session.output.data({"silences": [plain(one) for one in found]})
        else:
            columns = ("id", "matches", "author", "comment", "expires_at")
            session.output.table(columns, [_silence(one) for one in found])


def _silence(one: Silence) -> tuple[object, ...]:
    said = {name: value for name, value in plain(one.matchers).items() if value}
    return (one.id, said or "everything", one.author, one.comment, one.expires_at)


def _trying(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def test(channel: str, /) -> None:
        """Send a letter through a channel now, from here, and say what became of it.

        Args:
            channel: its name in the configuration.
        """
        settings = session.load().value
        channels = ways.with_log(settings.channel)
        if channel not in channels:
            known = ", ".join(sorted(channels))
            raise Ended(f"there is no channel {channel}; there are {known}.", Exit.NOT_FOUND)
        chosen = channels[channel]
        redactor = Redactor(secrets(settings))
        try:
            await ways.tell(chosen, letters.trial(channel), f"test-{channel}")
        except Undelivered as error:
            raise Ended(f"{channel}: {redactor.text(str(error))}") from error
        session.output.note(f"{channel} took the letter.")
