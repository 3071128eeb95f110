from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import oauth
from actors.zoho.answers import Answer
from actors.zoho.oauth import PARKED, Credentials, OAuth
from actors.zoho.seal import Seal
from actors.zoho.tokens import MARGIN, Memory
from tds_runtime.config import Secret
from tds_runtime.errors import RateLimited, SourceAnswerInvalid, SourceDown, SourceRefused

pytestmark = pytest.mark.anyio

WHO = Credentials(
    accounts="https://accounts.zoho.com",
    client_id="1000.CLIENT",
    client_secret=Secret("secret"),
    refresh_token=Secret("1000.refresh"),
)


class Accounts:
    """An accounts server that answers what it is told, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.forms: list[dict[str, list[str]]] = []
        self.answer: Callable[[], Answer] = self.issue
        self.delay = 0.0

    def clock(self) -> float:
        return self.now

    def issue(self, **more: Any) -> Answer:
        content = {"access_token": f"1000.{len(self.forms)}", "expires_in": 3600, **more}
        return Answer(200, {}, msgspec.json.encode(content))

    async def post(self, url: str, form: bytes) -> Answer:
        assert url == "https://accounts.zoho.com/oauth/v2/token"
        self.forms.append(parse_qs(form.decode()))
        await anyio.sleep(self.delay)
        return self.answer()

    def node(self, store: Memory | None = None) -> OAuth:
        return OAuth(WHO, self.post, store, clock=self.clock)


def refused(error: str, status: int = 200) -> Callable[[], Answer]:
    return lambda: Answer(status, {}, msgspec.json.encode({"error": error, "error_description": "too many"}))


async def test_one_token_serves_until_it_ages() -> None:
    """It is asked for once, kept, and replaced five minutes before its end."""
    accounts = Accounts()
    one = accounts.node()
    assert (await one.token()).access == (await one.token()).access == "1000.1"
    accounts.now += 3600 - MARGIN - 1
    assert (await one.token()).access == "1000.1"
    accounts.now += 2
    assert (await one.token()).access == "1000.2"
    assert accounts.forms[0]["grant_type"] == ["refresh_token"]
    assert one.statistics().refreshed == 2


async def test_single_flight_in_the_process() -> None:
    """Fifty callers at once cause one refresh."""
    accounts = Accounts()
    accounts.delay = 0.01
    one = accounts.node()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(one.token)
    assert len(accounts.forms) == 1


async def test_renewing_what_another_renewed() -> None:
    """Two callers with the same dead token cause one refresh; the second gets the first one's token."""
    accounts = Accounts()
    one = accounts.node()
    dead = await one.token()
    assert (await one.renew(dead)).access == "1000.2"
    assert (await one.renew(dead)).access == "1000.2"
    assert len(accounts.forms) == 2


async def test_nodes_share_a_token() -> None:
    """A node that starts, or whose token died, takes the one that another node got."""
    accounts, store = Accounts(), Memory()
    first, second = accounts.node(store), accounts.node(store)
    dead = await first.token()
    assert (await second.token()).access == dead.access
    await first.renew(dead)
    assert (await second.renew(dead)).access == "1000.2"
    assert len(accounts.forms) == 2


@pytest.mark.parametrize("error", ["invalid_code", "invalid_client", "invalid_client_secret"])
async def test_a_revoked_token_parks(error: str) -> None:
    """An error with status 200 parks everybody with its reason; one probe each five minutes finds the end of it."""
    accounts, store = Accounts(), Memory()
    accounts.answer = refused(error)
    first, second = accounts.node(store), accounts.node(store)
    for one in (first, first, second):
        with pytest.raises(SourceRefused, match=error):
            await one.token()
    assert len(accounts.forms) == 1
    accounts.now += PARKED + 1
    with pytest.raises(SourceRefused, match=error):
        await second.token()
    assert len(accounts.forms) == 2
    accounts.answer = accounts.issue
    accounts.now += PARKED + 1
    assert (await first.token()).access == "1000.3"
    assert first.statistics().reason == ""


async def test_throttling_backs_off() -> None:
    """Each throttled answer doubles the wait at least, and a living token is used meanwhile."""
    accounts = Accounts()
    one = accounts.node()
    living = await one.token()
    accounts.now += 3600 - MARGIN + 1
    accounts.answer = refused("Access Denied", 400)
    assert await one.token() == living
    asked = len(accounts.forms)
    assert await one.token() == living
    assert len(accounts.forms) == asked
    accounts.now += MARGIN
    with pytest.raises(RateLimited) as caught:
        await one.token()
    assert caught.value.until is not None
    assert caught.value.until.timestamp() - accounts.now == oauth.THROTTLED[1]


async def test_never_near_the_throttle() -> None:
    """Eight refreshes in ten minutes are the most, whatever is asked; later it goes on."""
    accounts = Accounts()
    one = accounts.node()
    token = await one.token()
    for _ in range(oauth.REFRESHES - 1):
        token = await one.renew(token)
    with pytest.raises(RateLimited, match="ten minutes"):
        await one.renew(token)
    assert len(accounts.forms) == oauth.REFRESHES
    accounts.now += oauth.WINDOW
    await one.renew(token)


async def test_a_foreign_api_host_is_refused() -> None:
    """The API host of the answer must be one of Zoho's, and is taken over when it is."""
    accounts = Accounts()
    accounts.answer = lambda: accounts.issue(api_domain="https://www.zohoapis.eu")
    assert (await accounts.node().token()).api_domain == "https://www.zohoapis.eu"
    for domain in ("https://evil.example", "http://www.zohoapis.eu", "https://www.zohoapis.eu@evil.example"):
        accounts.answer = lambda domain=domain: accounts.issue(api_domain=domain)
        with pytest.raises(SourceAnswerInvalid, match="API host"):
            await accounts.node().token()


async def test_answers_that_are_none() -> None:
    """A 502 is an outage; a page of HTML is an invalid answer; neither parks."""
    accounts = Accounts()
    one = accounts.node()
    accounts.answer = lambda: Answer(502, {}, b"<html>")
    with pytest.raises(SourceDown):
        await one.token()
    accounts.answer = lambda: Answer(200, {}, b"<html>")
    with pytest.raises(SourceAnswerInvalid):
        await one.token()
    accounts.answer = accounts.issue
    await one.token()


async def test_a_clock_set_back_does_not_keep_a_token_for_ever() -> None:
    """A token "issued tomorrow" is replaced."""
    accounts = Accounts()
    one = accounts.node()
    await one.token()
    accounts.now -= 86_400
    assert (await one.token()).access == "1000.2"


@given(st.text(max_size=300))
def test_seal_round_trip(text: str) -> None:
    """What is sealed opens with the same credentials, never with others, and never after a change."""
    seal = Seal("secret", "refresh")
    sealed = seal.close(text)
    assert seal.open(sealed) == text
    assert Seal("secret", "other").open(sealed) is None
    assert seal.open(sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
    assert seal.open(sealed[:10]) is None
    assert len(text) < 8 or text.encode() not in sealed
