"""One letter through apprise, which knows SMS and a hundred other ways; an extra, and in a thread because it blocks."""

from __future__ import annotations

from functools import partial

from anyio.to_thread import run_sync

from actors.alerting.channels import Channel, Refused, Undelivered
from actors.alerting.letters import Letter
from actors.alerting.rules import Severity

_KINDS: dict[Severity, str] = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


async def tell(channel: Channel, letter: Letter, _number: str) -> None:
    """Hand it over; raises `Undelivered`, or `Refused` where apprise is absent or knows no such address."""
    await run_sync(partial(send, channel, letter), abandon_on_cancel=True)


def send(channel: Channel, letter: Letter) -> None:
    """Send it, in whatever thread this is."""
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise Refused("apprise is not installed: pip install 'tds-runtime[apprise]'") from error
    ways = apprise.Apprise()
    if not ways.add(str(channel.url)):
        raise Refused("apprise does not know this kind of address")
    if not ways.notify(title=letter.subject, body=letter.text, notify_type=_KINDS[letter.severity]):
        raise Undelivered("apprise could not deliver it")
