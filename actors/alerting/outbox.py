"""What a plan puts into the outbox: a notification a channel, what a channel is spared, and what was muted just now."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from actors.alerting import letters, routing
from actors.alerting.planning import Notice, Plan, Settings
from actors.alerting.storing import Outgoing, Pressure


def outgoing_of(
    plan: Plan, settings: Settings, pressed: Mapping[str, Pressure], redact: Callable[[str], str]
) -> tuple[list[Outgoing], list[str]]:
    """The plan's notices as notifications, with what a channel is spared and the summaries of that."""
    options = settings.options
    outgoing: list[Outgoing] = []
    summed: list[str] = []
    given = {channel: one.given for channel, one in pressed.items()}
    for channel, one in pressed.items():
        if one.held and one.given < options.flood:
            summed.append(channel)
            given[channel] += 1
            counts: dict[str, int] = {}
            for subject in one.held:
                counts[subject] = counts.get(subject, 0) + 1
            letter = letters.summary(counts, str(options.flood_window))
            outgoing.append(
                Outgoing(channel=channel, kind="summary", route="", group_key="", alert_ids=(), letter=letter)
            )
    for notice in plan.notices:
        letter = letters.compose(notice, settings.rules, redact)
        for channel in notice.channels:
            given[channel] = given.get(channel, 0) + 1
            spared = given[channel] > options.flood
            outgoing.append(_outgoing(notice, channel, letter, spared=f"flood cap: more than {options.flood} in "
                                      f"{options.flood_window}" if spared else ""))  # fmt: skip
    return [*outgoing, *_muted(plan, settings, redact)], summed


def _outgoing(notice: Notice, channel: str, letter: letters.Letter, *, spared: str) -> Outgoing:
    return Outgoing(
        channel=channel,
        kind=notice.kind,
        route=notice.route,
        group_key=notice.group_key,
        alert_ids=tuple(alert.id for alert in (*notice.firing, *notice.resolved)),
        letter=letter,
        status="suppressed" if spared else "pending",
        reason=spared,
        held=bool(spared),
    )


def _muted(plan: Plan, settings: Settings, redact: Callable[[str], str]) -> list[Outgoing]:
    """What would have been told of alerts that were muted just now: it is on record as suppressed."""
    found = []
    for alert in plan.muted:
        for name, route in routing.routes_of(alert, settings.routes):
            key = routing.group_key(route, alert)
            notice = Notice(kind="firing", route=name, group_key=key, channels=route.channels, firing=(alert,))
            letter = letters.compose(notice, settings.rules, redact)
            found += [
                replace(_outgoing(notice, channel, letter, spared=alert.muted), held=False)
                for channel in route.channels
            ]
    return found
