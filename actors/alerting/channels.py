"""What `[channel.NAME]` may say: where letters go, by log, mail, Slack, Telegram, webhook or apprise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from actors.zoho.hosts import is_loopback
from tds_runtime import breaker
from tds_runtime.errors import Error
from tds_runtime.values import Duration, Secret

Type = Literal["log", "email", "slack", "telegram", "webhook", "apprise"]
Security = Literal["starttls", "tls", "none"]

TELEGRAM = "https://api.telegram.org"
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "log": (),
    "email": ("host", "sender", "to"),
    "slack": ("url",),
    "telegram": ("token", "chat"),
    "webhook": ("url",),
    "apprise": ("url",),
}
_TAKES: Mapping[str, tuple[str, ...]] = {
    "log": (),
    "email": ("host", "port", "security", "user", "password", "sender", "to"),
    "slack": ("url",),
    "telegram": ("token", "chat", "url"),
    "webhook": ("url", "secret"),
    "apprise": ("url",),
}


class Undelivered(Error):
    """The channel did not take the letter."""

    def __init__(self, message: str | None = None, *, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt
        """Whether it may have arrived all the same."""


class Refused(Undelivered):
    """The channel's other end is up and says no: a wrong password, a chat that does not exist."""


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channel.NAME]`.

    type: log, email (host, port, security, user, password, sender, to), slack (url), telegram (token, chat), webhook
        (url, secret: signs the body), apprise (url, as apprise writes it; needs the extra `apprise`).
    timeout: of one attempt. tries: attempts, with growing pauses between them. resolved: also told of what is over.
    breaker: so many failures in a row and it is left alone for a while.
    """

    type: Type
    url: Secret = Secret("")
    secret: Secret = Secret("")
    host: str = ""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    security: Security = "starttls"
    user: str = ""
    password: Secret = Secret("")
    sender: str = ""
    to: tuple[str, ...] = ()
    token: Secret = Secret("")
    chat: str = ""
    timeout: Duration = Duration("10s")
    tries: Annotated[int, Meta(ge=1)] = 8
    resolved: bool = True
    breaker: breaker.Options = breaker.Options()

    def __post_init__(self) -> None:
        for name in _NEEDS[self.type]:
            if not getattr(self, name):
                raise ValueError(f"a channel of type {self.type} needs {name}")
        for name in ("url", "secret", "host", "port", "user", "password", "sender", "to", "token", "chat"):
            if getattr(self, name) and name not in _TAKES[self.type]:
                raise ValueError(f"a channel of type {self.type} takes no {name}")
        if self.type in {"slack", "telegram", "webhook"} and self.url:
            _check(self.url)
        if self.type == "email" and self.security == "none" and not is_loopback(self.host):
            raise ValueError(f"{self.host}: mail leaves this machine only encrypted (security)")


def _check(url: str) -> None:
    """Refuse an address that would be called in the clear; what it says is a secret, so it is not repeated."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password:
        raise ValueError("the address needs a host, and takes no user")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("only https leaves this machine")
