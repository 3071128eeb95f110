"""The way of each channel: one attempt to tell, whole or not at all, within the channel's time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches

import anyio

from actors.alerting import mail, posts, relay
from actors.alerting.channels import Channel, Undelivered
from actors.alerting.letters import Letter
from actors.alerting.planning import Settings
from actors.alerting.routing import LOG
from tds_runtime import logs
from tds_runtime.errors import ConfigError

Tell = Callable[[Channel, Letter, str], Awaitable[None]]

_LEVELS = {"info": "info", "warning": "warning", "error": "error", "critical": "error"}


async def say(_channel: Channel, letter: Letter, number: str) -> None:
    """A line in the log; the alerter itself does not listen to it."""
    line = getattr(logs.get("alerts"), _LEVELS[letter.severity])
    line("alert.told", subject=letter.subject, text=letter.text, kind=letter.kind, notification=number)


_WAYS: Mapping[str, Tell] = {
    "log": say,
    "email": mail.tell,
    "slack": posts.slack,
    "telegram": posts.telegram,
    "webhook": posts.webhook,
    "apprise": relay.tell,
}


def check(settings: Settings, channels: Mapping[str, Channel]) -> None:
    """Raise ConfigError for a route or an escalation to a channel that does not exist."""
    known = with_log(channels)
    for name, rule in settings.rules.items():
        for step in rule.escalation or ():
            _refuse_unknown(f"alert.{name}.escalation", step.channels, known)
    for name, route in settings.routes.items():
        _refuse_unknown(f"route.{name}.channels", route.channels, known)
        for step in route.escalation:
            _refuse_unknown(f"route.{name}.escalation", step.channels, known)


def _refuse_unknown(where: str, wanted: Sequence[str], known: Mapping[str, Channel]) -> None:
    for channel in wanted:
        if channel not in known:
            near = get_close_matches(channel, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: there is no [channel.{channel}]; {hint}")


def with_log(channels: Mapping[str, Channel]) -> dict[str, Channel]:
    """The channels that are configured, and the one that is always there."""
    return {LOG: Channel(type="log"), **channels}


async def tell(channel: Channel, letter: Letter, number: str) -> None:
    """One attempt; raises `Undelivered` (`Refused`) with the reason."""
    try:
        with anyio.fail_after(float(channel.timeout)):
            await _WAYS[channel.type](channel, letter, number)
    except TimeoutError as error:
        raise Undelivered(f"no answer within {channel.timeout}", in_doubt=True) from error
