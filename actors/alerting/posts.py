"""One letter as one POST: Slack, Telegram, a webhook of anybody's; and the call of a dead man's switch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import httpx2
import msgspec

from actors.alerting.channels import TELEGRAM, Channel, Refused, Undelivered
from actors.alerting.letters import Letter

MOST_READ = 2_000
"""Bytes of an answer that are looked at."""
_PREFIX = "whsec_"


async def slack(channel: Channel, letter: Letter, _number: str) -> None:
    """An incoming webhook of Slack, or of whatever takes the same."""
    body = msgspec.json.encode({"text": f"*{_plain(letter.subject)}*\n{_plain(letter.text)}"})
    await post(channel.url, body, timeout=channel.timeout)


async def telegram(channel: Channel, letter: Letter, _number: str) -> None:
    """A message of a bot to a chat, as plain text: nothing in it is markup."""
    content = {"chat_id": channel.chat, "text": f"{letter.subject}\n\n{letter.text}", "disable_web_page_preview": True}
    url = f"{(channel.url or TELEGRAM).rstrip('/')}/bot{channel.token}/sendMessage"
    await post(url, msgspec.json.encode(content), timeout=channel.timeout)


async def webhook(channel: Channel, letter: Letter, number: str, *, clock: Callable[[], float] = time.time) -> None:
    """The letter as JSON, signed as Standard Webhooks has it; a repeat bears the same `webhook-id`."""
    body = msgspec.json.encode(letter)
    stamp = str(int(clock()))
    headers = {"webhook-id": number, "webhook-timestamp": stamp}
    if channel.secret:
        headers["webhook-signature"] = signature(channel.secret, number, stamp, body)
    await post(channel.url, body, timeout=channel.timeout, headers=headers)


def signature(secret: str, number: str, stamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 over id, time and body; `whsec_...` is base64, any other secret is taken as it is."""
    key = base64.b64decode(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else secret.encode()
    digest = hmac.digest(key, b".".join((number.encode(), stamp.encode(), body)), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


async def ping(url: str, *, timeout: float) -> None:  # noqa: ASYNC109 - the client's own, beside which the caller has a deadline
    """Call the address that watches for our silence."""
    await post(url, b"", timeout=timeout)


async def post(url: str, body: bytes, *, timeout: float, headers: Mapping[str, str] | None = None) -> None:  # noqa: ASYNC109 - as above
    """One POST to just this address: no redirects, no proxies; raises `Undelivered`, or `Refused` when it says no."""
    every = {"Content-Type": "application/json", "User-Agent": "tds-runtime", **(headers or {})}
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=float(timeout)) as client,
            client.stream("POST", url, content=body, headers=every) as response,
        ):
            said = await _beginning(response)
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise Undelivered(f"cannot be reached: {error}".rstrip(": ")) from error
    except httpx2.TransportError as error:
        raise Undelivered(f"{type(error).__name__} {error}".rstrip(), in_doubt=True) from error
    if response.is_success:
        return
    again = response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error
    raise (Undelivered if again else Refused)(f"answered {response.status_code} {said}".rstrip())


async def _beginning(response: httpx2.Response) -> str:
    read = b""
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) >= MOST_READ:
            break
    text = read[:200].decode(errors="replace")
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Slack reads these three as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
