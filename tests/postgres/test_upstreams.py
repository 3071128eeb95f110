from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from msgspec import structs

from actors.zoho.answers import Answer
from actors.zoho.oauth import Credentials, OAuth
from actors.zoho.seal import Seal
from actors.zoho.tokens import Fleet, Standing, Token
from tds_runtime import breaker, upstreams
from tds_runtime.config import Secret
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, SourceRefused
from tds_runtime.limiter import Budget
from tds_runtime.upstreams import Shared

pytestmark = pytest.mark.anyio


async def test_nodes_never_reserve_more_than_the_limit(database: Database) -> None:
    """Ten nodes that reserve at once get a hundred permits together, and then hear how long to wait."""
    granted: list[int] = []

    async def node() -> None:
        shared = Shared(database)
        while (grant := await shared.reserve("zoho", 7, 100)).permits:
            granted.append(grant.permits)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(node)
    assert sum(granted) == 100
    grant = await Shared(database).reserve("zoho", 1, 100)
    assert 55 < grant.wait <= 61
    assert grant.paused == 0


async def test_old_permits_return(database: Database) -> None:
    """What was granted more than a minute ago, or tomorrow by a clock that was set back, counts no more."""
    shared = Shared(database)
    await shared.reserve("zoho", 100, 100)
    for shift in ("- interval '62 s'", "+ interval '1 day'"):
        await database.execute(
            f"UPDATE tds_upstreams SET permit_marks = array(SELECT m {shift} FROM unnest(permit_marks) m)"
        )
        assert (await shared.reserve("zoho", 60, 100)).permits == 60


async def test_pauses_are_shared_and_never_shortened(database: Database) -> None:
    """A pause ordered to one node stops the others; a shorter one changes nothing."""
    await Shared(database).pause("zoho", 600, "code 43")
    await Shared(database).pause("zoho", 5, "code 1070")
    grant = await Shared(database).reserve("zoho", 1, 100)
    assert (grant.permits, grant.reason) == (0, "code 43")
    assert 595 < grant.paused <= 600


async def test_breakers_and_budgets_survive(database: Database) -> None:
    """What was saved is read back; an older answer never overwrites a newer budget."""
    shared = Shared(database)
    state = breaker.State(phase="open", failures=5, opened_at=1_000_000.5, reason="503")
    await shared.save_breaker("books", state)
    await shared.save_budget("books", Budget(limit=2000, remaining=17, resets_at=2e9, observed_at=1e9))
    await shared.save_budget("books", Budget(limit=2000, remaining=99, resets_at=2e9, observed_at=9e8))
    found = (await shared.read())["books"]
    assert (found.breaker, found.budget.remaining, found.paused) == (state, 17, 0)


async def test_reset_by_hand(database: Database) -> None:
    """A reset closes the saved breaker and leaves a request that every node can see."""
    shared = Shared(database)
    await shared.save_breaker("books", breaker.State(phase="open", failures=5, opened_at=1e6, reason="503"))
    async with database.transaction() as connection:
        assert await upstreams.reset_breaker(connection, "books")
        assert not await upstreams.reset_breaker(connection, "nobody")
    found = (await shared.read())["books"]
    assert found.breaker == breaker.State()
    assert found.reset_requested_at > 0


async def test_one_holder_of_a_memo(database: Database) -> None:
    """Two nodes never hold it together, the second reads what the first left, and who waits holds no connection."""
    shared, inside = Shared(database), 0

    async def node() -> None:
        nonlocal inside
        async with shared.memo("token") as memo:
            inside += 1
            assert inside == 1
            await anyio.lowlevel.checkpoint()
            await memo.save((memo.value or b"") + b"x")
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(node)
    async with shared.memo("token") as memo:
        assert memo.value == b"x" * 12
        with pytest.raises(DatabaseGone, match="another node"):
            async with shared.memo("token", patience=0.3):
                pass


async def test_the_token_is_shared_sealed(database: Database) -> None:
    """Another node with the same credentials reads it; the table shows it to nobody, other credentials start afresh."""
    standing = Standing(token=Token(access="1000.secret.token", expires_at=1.0), refreshes=(0.5,))
    async with Fleet(Shared(database), Seal("secret", "refresh")).exclusive() as slot:
        assert slot.standing == Standing()
        await slot.save(standing)
    async with Fleet(Shared(database), Seal("secret", "refresh")).exclusive() as slot:
        assert slot.standing == standing
    async with Fleet(Shared(database), Seal("secret", "another")).exclusive() as slot:
        assert slot.standing == Standing()
    assert b"1000.secret.token" not in await database.fetchval("SELECT value FROM tds_memos")


async def test_nodes_that_refresh_at_once_ask_once(database: Database) -> None:
    """Ten nodes without a token, or with the same dead one, cause one call: who waits for the lock reads again."""
    asked = 0

    async def post(_url: str, _form: bytes) -> Answer:
        nonlocal asked
        asked += 1
        await anyio.sleep(0.05)
        return Answer(200, {}, b'{"access_token": "1000.%d", "expires_in": 3600}' % asked)

    who = Credentials(accounts="https://a", client_id="c", client_secret=Secret("s"), refresh_token=Secret("r"))
    nodes = [OAuth(who, post, Fleet(Shared(database), Seal("s", "r"))) for _ in range(10)]
    tokens: list[Token] = []

    async def renew(node: OAuth, stale: Token | None) -> None:
        tokens.append(await node.renew(stale))

    for calls in (1, 2):
        stale = tokens[0] if tokens else None
        tokens.clear()
        async with anyio.create_task_group() as group:
            for node in nodes:
                group.start_soon(renew, node, stale)
        assert (asked, {token.access for token in tokens}) == (calls, {f"1000.{calls}"})


async def test_a_refusal_reaches_the_other_nodes(database: Database) -> None:
    """What the accounts server refused to one node, the others know without asking."""
    asked = []

    async def post(url: str, form: bytes) -> Answer:
        asked.append(url)
        return Answer(200, {}, b'{"error": "invalid_code"}')

    who = Credentials(accounts="https://a", client_id="c", client_secret=Secret("s"), refresh_token=Secret("r"))
    for _ in range(3):
        node = OAuth(who, post, Fleet(Shared(database), Seal("s", "r")))
        with pytest.raises(SourceRefused, match="invalid_code"):
            await node.token()
    assert len(asked) == 1


async def test_how_long_a_day_lasts_is_known_everywhere(database: Database) -> None:
    """What is left, until when, and since when it was watched are read back: every screen says the same hour."""
    shared, now = Shared(database), datetime(2026, 11, 27, 12, tzinfo=UTC)
    noon = now.timestamp()
    budget = Budget(limit=1000, remaining=100, resets_at=noon + 36_000, observed_at=noon)
    watched = structs.replace(budget, first_remaining=300, first_at=noon - 7200)
    await shared.save_budget("books", watched)
    found = upstreams.outlook((await shared.read())["books"].budget, now)
    assert (found.calls_left, found.calls_a_day) == (100, 1000)
    assert found.resets_at == now + timedelta(hours=10)
    assert found.lasts_until == now + timedelta(hours=1)
    assert upstreams.outlook(budget, now + timedelta(days=1)) == upstreams.Outlook()
