"""`zoho webhooks`: sets the workflow rules up at the source that tell the daemon of changes, and says what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from cyclopts import App
from msgspec import Struct

from actors import webhooks as receiving
from actors.configuration import Config
from actors.zoho import entities as mappings
from actors.zoho import workflows
from actors.zoho.automation import Automation
from actors.zoho.client import Client
from actors.zoho.seal import Seal
from actors.zoho.tokens import Fleet
from actors.zoho.workflows import Hook, Routes, Standing, Unsuitable
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.errors import Outage, SourceRefused
from tds_runtime.upstreams import Shared

SCOPES = "ZohoBooks.settings.ALL and ZohoInventory.settings.ALL"


class Line(Struct, frozen=True, kw_only=True):
    """What is to be said of one webhook or rule; never a secret.

    Attributes:
        change: create, update, or none.
    """

    name: str
    part: str
    change: str
    why: str
    about: str


def register(app: App, session: Session[Config]) -> None:
    """Add `zoho` to the command line."""
    zoho = App(name="zoho", help="What is set up at the source.")
    hooks = App(name="webhooks", help="The webhooks and workflow rules that tell the daemon of changes.")
    zoho.command(hooks)
    app.command(zoho)

    @hooks.command
    async def plan(*, url: str = "", json: bool = False) -> None:
        """Show what `install` would change at the source; changes nothing.

        Args:
            url: where the source reaches this daemon, such as https://sync.example.com; else the first of [http] hosts.
            json: print JSON.
        """
        async with _opened(session, url) as (automation, wanted, polled):
            _show(session, await automation.read(wanted), polled, json=json)

    @hooks.command
    async def install(*, url: str = "", json: bool = False) -> int:
        """Make and mend the webhooks and rules; what is right stays, what somebody else made is never touched.

        Args:
            url: where the source reaches this daemon, such as https://sync.example.com; else the first of [http] hosts.
            json: print JSON.
        """
        async with _opened(session, url) as (automation, wanted, polled):
            before = await automation.read(wanted)
            await automation.install(before)
            wrong = [one for one in await automation.read(wanted) if not one.is_right]
            _show(session, before, polled, json=json)
        for line in _lines(wrong):
            session.output.note(f"{line.part} {line.name}: still {line.why}")
        return Exit.FAILED if wrong else Exit.OK

    @hooks.command
    async def verify(*, url: str = "", json: bool = False) -> int:
        """Say what is missing or differs at the source; changes and sends nothing; exit code 1 when something does.

        Args:
            url: where the source reaches this daemon, such as https://sync.example.com; else the first of [http] hosts.
            json: print JSON.
        """
        async with _opened(session, url) as (automation, wanted, polled):
            wrong = [one for one in await automation.read(wanted) if not one.is_right]
            _show(session, wrong, polled, json=json, complete=False)
        return Exit.FAILED if wrong else Exit.OK


@asynccontextmanager
async def _opened(session: Session[Config], url: str) -> AsyncIterator[tuple[Automation, list[Hook], list[str]]]:
    """The settings of the source, by the token and the minute that all nodes share: the daemon is not disturbed."""
    loaded = session.load().value
    config = loaded.resolved(loaded.http.bind)
    entities = mappings.load(config.entities.directory)
    try:
        secret = _secret(config)
        wanted = workflows.wanted(entities, _routes(_address(config, url)))
        async with session.database(config.database) as database:
            shared = Shared(database)
            seal = Seal(config.zoho.client_id, config.zoho.client_secret, config.zoho.refresh_token)
            client = Client(config.zoho, ledger=shared, store=Fleet(shared, seal))
            async with client.opened():
                yield Automation(client, secret), wanted, workflows.polled(entities)
    except Unsuitable as error:
        raise Ended(f"{error}.", Exit.USAGE) from error
    except SourceRefused as error:
        raise Ended(f"The source refuses: {error}. The token needs {SCOPES}.") from error
    except Outage as error:
        raise Ended(f"The source cannot be asked now: {error}", Exit.UNREACHABLE) from error


def _routes(address: str) -> Routes:
    return Routes(address=address, prefix=receiving.PREFIX, catch_all=receiving.CATCH_ALL, deletion=receiving.DELETION)


def _secret(config: Config) -> str:
    """The first live secret: the second one is there for what was signed before."""
    if not config.webhooks.secrets:
        raise Ended("There is no secret to sign with: put one into [webhooks] secrets.", Exit.USAGE)
    if config.webhooks.header.lower() != "x-zoho-webhook-signature":
        raise Ended(f"[webhooks] header is {config.webhooks.header}; the source signs in another one.", Exit.USAGE)
    return workflows.checked_secret(config.webhooks.secrets[0])


def _address(config: Config, said: str) -> str:
    if said:
        parts = urlsplit(said)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise Ended(f"--url {said} is no address such as https://sync.example.com", Exit.USAGE)
        return said
    if config.http.hosts:
        return f"https://{config.http.hosts[0]}"
    if config.sandbox.enabled:
        return f"http://{config.http.bind}"
    raise Ended("Say where the source reaches this daemon: --url, or [http] hosts.", Exit.USAGE)


# --- what is said


def _show(
    session: Session[Config], found: Sequence[Standing], polled: list[str], *, json: bool, complete: bool = True
) -> None:
    lines = _lines(found)
    if json:
        session.output.data({"webhooks": lines, "polled": polled})
        return
    columns = Line.__struct_fields__
    session.output.table(columns, [[getattr(line, name) for name in columns] for line in lines])
    if polled:
        session.output.note(f"{', '.join(polled)}: polled, the source has no webhooks for them")
    if complete and not any(line.change != "none" for line in lines):
        session.output.note("All is as it should be.")


def _lines(found: Sequence[Standing]) -> list[Line]:
    return [line for one in found for line in (_line(one, "webhook"), _line(one, "rule"))]


def _line(one: Standing, part: str) -> Line:
    there: Any = one.action if part == "webhook" else one.rule
    faults = one.wrong if part == "webhook" else one.amiss
    change = "create" if there is None else "update" if faults else "none"
    why = "missing" if there is None else "; ".join(faults)
    event = one.hook.event.replace("_", " ")
    about = one.hook.url if part == "webhook" else f"{one.hook.module} {event}"
    return Line(name=one.hook.name, part=part, change=change, why=why, about=about)
