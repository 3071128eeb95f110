"""Each channel against its receiver on loopback: a real mail server, a real HTTP server, apprise itself."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fixtures.mail import PASSWORD, USER, Mailer
from fixtures.upstream import HANG, Reply, Upstream, answer

from actors.alerting import letters, posts, ways
from actors.alerting.channels import Channel, Refused, Undelivered
from actors.alerting.letters import Letter
from tds_runtime.decoding import decode_own

pytestmark = pytest.mark.anyio

LETTER = Letter(subject="[critical] It broke", text="Since noon.\nDo this & that.", kind="firing", severity="critical")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sink(anyio_backend: str) -> AsyncIterator[Upstream]:
    async with Upstream().serving() as serving:
        yield serving


def channel(**said: Any) -> Channel:
    return msgspec.convert(said, Channel, dec_hook=decode_own)


def mail(port: int, **said: Any) -> Channel:
    fields = {"type": "email", "host": "127.0.0.1", "port": port, "security": "none", "sender": "tds@example.com",
              "to": ["ops@example.com", "boss@example.com"], "timeout": "5s"}  # fmt: skip
    return channel(**(fields | said))


# --- mail


async def test_a_mail_arrives_as_it_was_written(mailer: Mailer) -> None:
    """Subject, text and both recipients; its id is the notification's, so that a repeat can be told."""
    box = mailer.serve()
    await ways.tell(mail(box.port, user=USER, password=PASSWORD), LETTER, "notification-7")
    [letter] = box.letters
    assert letter["Subject"] == LETTER.subject
    assert letter.get_content().split("\r\n")[:2] == LETTER.text.splitlines()
    assert letter["Message-ID"] == "<notification-7@example.com>"
    assert box.recipients == [["ops@example.com", "boss@example.com"]]


async def test_a_wrong_password_names_authentication(mailer: Mailer) -> None:
    """Whoever reads the error knows what to mend, and does not find the password in it."""
    box = mailer.serve()
    with pytest.raises(Refused, match=r"authentication failed: .* does not take the password of tds") as caught:
        await ways.tell(mail(box.port, user=USER, password="theWrongPassword"), LETTER, "n")
    assert "theWrongPassword" not in str(caught.value)
    assert box.letters == []


async def test_mail_is_encrypted_and_verified(mailer: Mailer, monkeypatch: pytest.MonkeyPatch) -> None:
    """STARTTLS and TLS work with a certificate that is trusted, and with no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(mailer.certificate()))
    for security in ("starttls", "tls"):
        box = mailer.serve(tls=security)
        made = mail(box.port, host="localhost", security=security, user=USER, password=PASSWORD)
        await ways.tell(made, LETTER, "n")
        assert len(box.letters) == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    for security in ("starttls", "tls"):
        box = mailer.serve(tls=security)
        with pytest.raises(Undelivered, match="certificate of localhost is not valid"):
            await ways.tell(mail(box.port, host="localhost", security=security), LETTER, "n")
        assert box.letters == []


async def test_a_server_that_cannot_encrypt_gets_no_mail(mailer: Mailer) -> None:
    """STARTTLS is not a wish: without it nothing is sent."""
    box = mailer.serve()
    with pytest.raises(Refused, match="STARTTLS"):
        await ways.tell(mail(box.port, security="starttls"), LETTER, "n")
    assert box.letters == []


@pytest.mark.parametrize(("said", "kind"), [("451 later", Undelivered), ("550 never", Refused)])
async def test_a_server_that_says_no_is_believed(mailer: Mailer, said: str, kind: type[Exception]) -> None:
    """4xx is tried again, 5xx is a refusal; the answer is named."""
    box = mailer.serve()
    box.answer = said
    with pytest.raises(kind, match=said) as caught:
        await ways.tell(mail(box.port), LETTER, "n")
    assert type(caught.value) is kind


async def test_one_unknown_recipient_keeps_no_mail_from_the_other(mailer: Mailer) -> None:
    """And when nobody is known, it is refused."""
    box = mailer.serve()
    box.refused = {"boss@example.com"}
    await ways.tell(mail(box.port), LETTER, "n")
    assert box.recipients == [["ops@example.com"]]
    box.refused = {"boss@example.com", "ops@example.com"}
    with pytest.raises(Refused, match="takes no recipient"):
        await ways.tell(mail(box.port), LETTER, "n")


async def test_nobody_listening_is_said_to_be_nobody(sink: Upstream) -> None:
    """Neither by mail nor over HTTP it is in doubt whether something arrived."""
    for made in (mail(9), channel(type="webhook", url="http://127.0.0.1:9/x")):
        with pytest.raises(Undelivered, match="cannot be reached") as caught:
            await ways.tell(made, LETTER, "n")
        assert not caught.value.in_doubt


def test_a_subject_cannot_add_headers() -> None:
    """A title with line ends stays one line."""
    from actors.alerting.mail import compose  # noqa: PLC0415 - only here

    made = compose(mail(1), msgspec.structs.replace(LETTER, subject="x\r\nBcc: me@example.com"), "n")
    assert made["Bcc"] is None
    assert made["Subject"] == "x Bcc: me@example.com"


# --- one POST


async def test_slack_gets_text_that_is_no_markup(sink: Upstream) -> None:
    """One POST to just the configured address."""
    await ways.tell(channel(type="slack", url=f"{sink.url}/services/T/B/x"), LETTER, "n")
    [asked] = sink.asked
    assert (asked.method, asked.path) == ("POST", "/services/T/B/x")
    assert msgspec.json.decode(asked.body) == {"text": "*[critical] It broke*\nSince noon.\nDo this &amp; that."}


async def test_telegram_gets_a_message_to_the_chat(sink: Upstream) -> None:
    """By the bot's own address, as plain text."""
    await ways.tell(channel(type="telegram", url=sink.url, token="12:ab", chat="-100"), LETTER, "n")
    [asked] = sink.asked
    assert asked.path == "/bot12:ab/sendMessage"
    body = msgspec.json.decode(asked.body)
    assert (body["chat_id"], body["text"]) == ("-100", f"{LETTER.subject}\n\n{LETTER.text}")
    assert "parse_mode" not in body


async def test_a_webhook_is_signed_over_id_time_and_body(sink: Upstream) -> None:
    """As Standard Webhooks has it; the example is the one of its specification."""
    await ways.tell(
        channel(type="webhook", url=f"{sink.url}/hook", secret="sharedSecret1234"), LETTER, "notification-7"
    )
    [asked] = sink.asked
    assert msgspec.json.decode(asked.body, type=Letter) == LETTER
    stamp = asked.headers["webhook-timestamp"]
    assert asked.headers["webhook-id"] == "notification-7"
    assert asked.headers["webhook-signature"] == posts.signature(
        "sharedSecret1234", "notification-7", stamp, asked.body
    )
    known = posts.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
    )
    assert known == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "kind"), [(500, Undelivered), (503, Undelivered), (429, Undelivered), (404, Refused), (302, Refused)]
)
async def test_answers_are_told_apart(sink: Upstream, status: int, kind: type[Exception]) -> None:
    """5xx and 429 mean later, the rest means no; a redirect is not followed."""
    sink.reply = lambda _: Reply(status=status, body=b"because", headers={"Location": f"{sink.url}/elsewhere"})
    with pytest.raises(kind, match=f"answered {status} because") as caught:
        await ways.tell(channel(type="webhook", url=f"{sink.url}/hook"), LETTER, "n")
    assert type(caught.value) is kind
    assert len(sink.asked) == 1


async def test_an_endless_answer_ends(sink: Upstream) -> None:
    """A channel has its time, whatever trickles; whether the letter arrived is then in doubt."""
    sink.reply = lambda _: Reply(parts=[b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", HANG])
    with pytest.raises(Undelivered) as caught:
        await ways.tell(channel(type="webhook", url=f"{sink.url}/hook", timeout="200ms"), LETTER, "n")
    assert caught.value.in_doubt


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise imports it where it is there
async def test_apprise_delivers_through_its_own_ways(sink: Upstream) -> None:
    """What apprise knows as an address is a channel; here its JSON way."""
    host = sink.url.removeprefix("http://")
    sink.reply = lambda _: answer({"ok": True})
    await ways.tell(channel(type="apprise", url=f"json://{host}/apprise"), LETTER, "n")
    body = msgspec.json.decode(sink.asked[0].body)
    assert (body["title"], body["type"]) == (LETTER.subject, "failure")
    sink.reply = lambda _: answer({"no": True}, 500)
    with pytest.raises(Undelivered, match="could not deliver"):
        await ways.tell(channel(type="apprise", url=f"json://{host}/apprise"), LETTER, "n")
    with pytest.raises(Refused, match="does not know"):
        await ways.tell(channel(type="apprise", url="nonsense"), LETTER, "n")


async def test_apprise_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the error says what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(Refused, match=r"pip install 'tds-runtime\[apprise\]'"):
        await ways.tell(channel(type="apprise", url="json://127.0.0.1"), LETTER, "n")


async def test_the_log_is_a_channel() -> None:
    """It is always there and needs nobody."""
    made = ways.with_log({})
    await ways.tell(made["log"], letters.trial("log"), "n")
    assert set(made) == {"log"}


# --- what may be configured


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"type": "slack", "url": "http://hooks.example.com/x"}, "only https leaves"),
        ({"type": "webhook", "url": "ftp://127.0.0.1/x"}, "only https leaves"),
        ({"type": "webhook", "url": "https://me:pw@example.com/x"}, "takes no user"),
        ({"type": "webhook"}, "needs url"),
        ({"type": "telegram", "token": "x"}, "needs chat"),
        ({"type": "log", "url": "https://example.com"}, "takes no url"),
        (
            {"type": "email", "host": "mail.example.com", "sender": "a@b", "to": ["c@d"], "security": "none"},
            "only encrypted",
        ),
    ],
)
def test_what_would_leave_in_the_clear_is_refused(said: dict[str, Any], problem: str) -> None:
    """TLS cannot be switched off, but on this machine; a channel takes what it can use."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        channel(**said)
