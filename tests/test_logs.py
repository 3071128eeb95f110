from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote_plus

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tds_runtime import logs
from tds_runtime.mailbox import CORRELATION
from tds_runtime.redaction import MASK, Redactor
from tds_runtime.sink import Sink

NOW = datetime(2026, 11, 21, 12, 0, 0, 123000, tzinfo=UTC)
SECRET = "sw0rd+fish/ ünd&more"


class Pipe:
    """Both ends of a pipe, the writing one as a text stream."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream: TextIO = os.fdopen(writing, "w")

    def lines(self) -> list[str]:
        os.set_blocking(self.reading, False)
        try:
            return os.read(self.reading, 1 << 20).decode().splitlines()
        except BlockingIOError:
            return []

    def fill(self) -> None:
        os.set_blocking(self.stream.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while os.write(self.stream.fileno(), b"x" * 4096):
                pass
        os.set_blocking(self.stream.fileno(), True)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.stream.close()
    with contextlib.suppress(OSError):
        os.close(pipe.reading)


@pytest.fixture(autouse=True)
def _clean_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def configured(pipe: Pipe, **options: Any) -> logs.Logging:
    return logs.configure(
        logs.Options(**({"format": "json"} | options)), stream=pipe.stream, secrets=[SECRET], clock=lambda: NOW
    )


def written(pipe: Pipe, logging_: logs.Logging) -> list[dict[str, Any]]:
    logging_.close()
    return [json.loads(line) for line in pipe.lines()]


# --- lines


def test_an_event_is_one_json_line(pipe: Pipe) -> None:
    """A line says when, how severe and what, then who and the fields."""
    logging_ = configured(pipe)
    logs.get("webhooks").info("webhook.stored", entity="product", count=3, nothing=None, empty="")
    assert written(pipe, logging_) == [
        {
            "timestamp": "2026-11-21T12:00:00.123Z",
            "level": "info",
            "event": "webhook.stored",
            "room": "webhooks",
            "entity": "product",
            "count": 3,
        }
    ]


def test_bound_fields_are_on_every_line_inside(pipe: Pipe) -> None:
    """The correlation id reaches every line that is written inside its block, and none after it."""
    logging_ = configured(pipe)
    with logs.bound(correlation_id="c1"):
        logs.get("a").info("task.claimed")
    logs.get("a").info("task.claimed")
    first, second = written(pipe, logging_)
    assert first["correlation_id"] == "c1"
    assert "correlation_id" not in second


def test_the_message_at_hand_is_named(pipe: Pipe) -> None:
    """A line written while an actor handles a message carries the message's correlation id; one bound by hand wins."""
    logging_ = configured(pipe)
    token = CORRELATION.set("from-the-envelope")
    try:
        logs.get("a").info("task.claimed")
        with logs.bound(correlation_id="by-hand"):
            logs.get("a").info("task.claimed")
    finally:
        CORRELATION.reset(token)
    assert [line["correlation_id"] for line in written(pipe, logging_)] == ["from-the-envelope", "by-hand"]


def test_the_level_is_a_floor(pipe: Pipe) -> None:
    """Lines below the configured level are not written."""
    logging_ = configured(pipe, level="warning")
    logs.get("a").info("task.claimed")
    logs.get("a").warning("task.buried")
    assert [line["event"] for line in written(pipe, logging_)] == ["task.buried"]


def test_an_exception_keeps_its_end(pipe: Pipe) -> None:
    """A traceback is one field of the same line; when it is cut, its last lines stay."""
    logging_ = configured(pipe, field_limit=20)
    logs.get("a").error("task.failed", exc_info=ValueError("x" * 500 + "\nforged line"))
    (line,) = written(pipe, logging_)
    assert line["level"] == "error"
    assert line["exception"].endswith("xxx\nforged line")
    assert len(line["exception"]) == 100


def test_libraries_that_use_logging_are_heard(pipe: Pipe) -> None:
    """What a library logs by the standard library comes out as our lines."""
    logging_ = configured(pipe)
    logging.getLogger("hypercorn.error").warning("socket %s", "closed")
    (line,) = written(pipe, logging_)
    assert (line["event"], line["room"], line["message"]) == ("library.logged", "hypercorn.error", "socket closed")


def test_observers_see_what_is_written(pipe: Pipe) -> None:
    """Alert rules get the event as data, redacted like the line."""
    seen: list[Any] = []
    logging_ = logs.configure(
        logs.Options(format="json"), stream=pipe.stream, secrets=[SECRET], observers=[seen.append], clock=lambda: NOW
    )
    logs.get("a").info("call.made", url=f"https://x/?q={SECRET}")
    assert written(pipe, logging_) == seen
    assert SECRET not in str(seen)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(event=st.text(st.characters()), fields=st.dictionaries(st.text(st.characters()), anything, max_size=4))
@pytest.mark.parametrize("render", [logs._json_line, logs._Console(colour=False)])
def test_no_content_breaks_a_line(render: Any, event: str, fields: dict[str, Any]) -> None:
    """Whatever an event contains, surrogates and line ends included, its line is one line."""
    redacted = Redactor().fields({"timestamp": "2026-11-21T12:00:00.123Z", "level": "info", **fields, "event": event})
    line = render(redacted)
    assert len(line.splitlines()) == 1
    assert all(ord(character) >= 32 for character in line)


def test_the_console_shows_a_traceback_it_cannot_be_forged_in() -> None:
    """On a terminal a traceback has lines of its own, each marked, and no control character passes."""
    event = {
        "timestamp": "2026-11-21T12:00:00.123Z",
        "level": "error",
        "event": "a.b",
        "n": 1,
        "exception": "T\n\x1b[2Jx",
    }
    assert logs._Console(colour=False)(event) == (
        "12:00:00.123 error   a.b                          n=1\n    | T\n    | \\x1b[2Jx"
    )


def test_colours_are_for_terminals() -> None:
    """Severity has a colour only where colours are wanted."""
    event = {"timestamp": "2026-11-21T12:00:00.123Z", "level": "error", "event": "a.b"}
    assert logs._Console(colour=True)(event).startswith("\x1b[31m")


# --- redaction


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        quote_plus(SECRET),
        base64.b64encode(f"id:{SECRET}:x".encode()).decode(),
        base64.b64encode(f"i:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        json.dumps(SECRET),
        SECRET.encode().hex(),
    ],
)
def test_a_known_secret_is_masked_in_every_spelling(text: str) -> None:
    """A loaded secret does not appear, plain, quoted, escaped, in hex or in base64 at any alignment."""
    shown = Redactor([SECRET]).text(f"before {text} after")
    assert MASK in shown
    assert text not in shown
    for part in (SECRET, "sw0rd", "c3cwcmQ"):
        assert part not in shown


@given(st.binary(min_size=6, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_hides_no_secret(secret: bytes, before: bytes, after: bytes) -> None:
    """Whatever stands around a secret, its base64 is found."""
    text = secret.decode("latin-1")
    encoded = base64.b64encode(before + text.encode() + after).decode()
    assert MASK in Redactor([text]).text(encoded)


@pytest.mark.parametrize(
    "key", ["token", "client_secret", "Password", "AUTHORIZATION", "set-cookie", "x_signature", "api_key", "apiKey"]
)
def test_fields_are_masked_by_name(key: str) -> None:
    """A field with a telling name is masked wherever it is nested."""
    assert Redactor().fields({"outer": [{key: "v", "plain": "w"}]}) == {"outer": [{key: MASK, "plain": "w"}]}


def test_names_and_counts_of_tokens_are_no_secrets() -> None:
    """Numbers, and fields that only name a secret, stay readable."""
    fields = {"token_name": "ops", "tokens": 3, "signature_valid": True}
    assert Redactor().fields(fields) == fields


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /x?refresh_token=1000.abc&page=1", f"GET /x?refresh_token={MASK}&page=1"),
        ("Authorization: Zoho-oauthtoken 1000.abcdef.x", f"Authorization: Zoho-oauthtoken {MASK}"),
        ("postgresql://user:pw@host/db", f"postgresql://user:{MASK}@host/db"),
        ('{"access_token":"1000.x"}', f'{{"access_token":"{MASK}"}}'),
        ("an ordinary sentence: nothing hidden", "an ordinary sentence: nothing hidden"),
    ],
)
def test_unknown_secrets_are_known_by_their_shape(text: str, shown: str) -> None:
    """Tokens that were never loaded are masked in URLs, headers and bodies."""
    assert Redactor().text(text) == shown


def test_short_secrets_do_not_blot_out_words() -> None:
    """A value of a few letters is masked by name only."""
    assert Redactor(["the"]).text("the end") == "the end"


def test_long_fields_are_cut() -> None:
    """A field is capped and says how long it was; a secret across the cut does not survive in part."""
    redactor = Redactor(["abcdefghijkl"], field_limit=10)
    assert redactor.fields({"a": "x" * 30})["a"] == "xxxxxxxxxx… (30 characters)"
    assert "abc" not in redactor.fields({"a": "x" * 7 + "abcdefghijkl" + "y" * 30})["a"]


def test_deep_nesting_is_shown_flat() -> None:
    """A structure that never ends costs a constant."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in str(Redactor().fields({"a": deep}))
    while deep:  # taken apart by hand: freeing it recursively is the interpreter's business, not this test's
        deep = deep[0]


# --- the sink


def test_a_reader_that_stops_reading_blocks_nobody(pipe: Pipe) -> None:
    """With a full pipe lines are dropped and counted, and the count is told when the reader is back."""
    pipe.fill()
    sink = Sink(pipe.stream.fileno(), capacity=5, on_drop=lambda count: f"dropped {count}\n")
    for number in range(20):
        sink.write(f"line {number}")
    dropped = sink.statistics().dropped
    assert 14 <= dropped <= 15  # one line may already be in the writer's hands
    fcntl.fcntl(pipe.reading, fcntl.F_SETPIPE_SZ, 1 << 20)
    sink.write("again")
    sink.close(timeout=10)
    text = "\n".join(pipe.lines())
    assert f"dropped {sink.statistics().dropped}" in text
    assert sink.statistics().written + sink.statistics().dropped == 21


def test_a_reader_that_left_costs_only_its_lines(pipe: Pipe) -> None:
    """A closed pipe is counted, not raised."""
    os.close(pipe.reading)
    sink = Sink(pipe.stream.fileno())
    sink.write("lost")
    sink.close(timeout=10)
    assert sink.statistics().dropped == 1
    sink.write("after the end")
    assert sink.statistics().dropped == 2


def test_dropped_lines_are_an_event(pipe: Pipe) -> None:
    """The report about dropped lines is a line like any other."""
    configured(pipe).close()
    report = logs._drop_report(logs._json_line, lambda: NOW)(7)
    assert json.loads(report) == {
        "timestamp": "2026-11-21T12:00:00.123Z",
        "level": "warning",
        "event": "logs.dropped",
        "lines": 7,
    }


def test_a_secret_learned_later_is_masked_as_well() -> None:
    """A reload that brings new secrets masks them from then on, and forgets none of the old ones."""
    redactor = Redactor(["the first of them"])
    redactor.learn(["the second one"])
    assert redactor.text("the first of them, the second one") == f"{MASK}, {MASK}"
