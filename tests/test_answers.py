from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import answers, hosts
from actors.zoho.answers import Answer, judge

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SAMPLES = Path(__file__).parent / "samples"


def told(content: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, msgspec.json.encode(content)
    )


def test_the_recorded_errors() -> None:
    """Each error of the samples has its verdict."""
    samples = msgspec.json.decode((SAMPLES / "errors.json").read_bytes())
    expected = {
        "unauthorised_or_scope": "unauthorized",
        "invalid_token_14": "unauthorized",
        "wrong_org": "rejected",
        "bad_value": "rejected",
        "unknown_path": "rejected",
        "record_missing": "missing",
        "record_missing_generic": "missing",
        "itemdetails_one_dead_id": "missing",
        "method_not_allowed": "rejected",
        "per_minute_org": "minute",
        "per_minute_live_2026": "blocked",
        "per_day": "day",
        "concurrency": "busy",
    }
    for name, kind in expected.items():
        sample = samples[name]
        headers = {key.lower(): value for key, value in sample.get("headers", {}).items()}
        verdict = judge(Answer(sample["http_status"], headers, msgspec.json.encode(sample["body"])), NOW)
        assert (name, verdict.kind, verdict.code) == (name, kind, sample["body"]["code"])


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*_list.json")))
def test_the_recorded_lists_are_ok(sample: str) -> None:
    """A list as recorded is an answer."""
    assert judge(Answer(200, {}, (SAMPLES / sample).read_bytes()), NOW).kind == "ok"


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        ({"message": "success", "code": 0}, 200, "ok"),
        ({"items": [], "code": 57}, 200, "unauthorized"),
        ({"code": "0"}, 200, "ok"),
        ({"code": "43"}, 200, "blocked"),
        ({"code": "x"}, 200, "rejected"),
        ({"code": 1002}, 200, "missing"),
        ({"code": 1002}, 400, "rejected"),
        ({"code": 1000}, 200, "down"),
        ({"code": 0}, 500, "down"),
        ({"code": 0}, 201, "ok"),
        ({"code": 9}, 429, "minute"),
        ({"code": 9}, 403, "rejected"),
        ([], 200, "invalid"),
        ("x", 503, "down"),
        ({"code": None}, 200, "invalid"),
    ],
)
def test_code_first_then_status(content: Any, status: int, kind: str) -> None:
    """The code decides, wherever it stands and whatever the status."""
    assert judge(told(content, status), NOW).kind == kind


@given(st.binary(max_size=200), st.sampled_from([200, 201, 301, 400, 401, 404, 429, 500, 503]))
def test_any_bytes_have_a_verdict(body: bytes, status: int) -> None:
    """No body raises, and no body without a code of success is taken for one."""
    verdict = judge(Answer(status, {}, body), NOW)
    assert verdict.kind != "ok" or body.lstrip()[:1] == b"{"


def test_depth_is_no_crash() -> None:
    """A body nested a hundred thousand deep is an invalid answer."""
    body = b'{"a":' + b"[" * 100_000
    assert judge(Answer(200, {}, body), NOW).kind == "invalid"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0", 1),
        ("3600", 3600),
        ("99999999999999999999", 3600),
        ("-5", 60),
        ("", 60),
        ("soon", 60),
        ("1e3", 60),
        ("\u0665", 60),
        (format_datetime(NOW + timedelta(seconds=90)), 90),
        (format_datetime(NOW - timedelta(days=1)), 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Wed, 21 Oct 2099 07:28:00", 3600),
    ],
)
def test_retry_after(text: str, seconds: float) -> None:
    """Seconds or a date, between a second and an hour; anything else is the default."""
    assert answers.retry_after({"retry-after": text}, NOW, 60) == seconds


def test_quota() -> None:
    """Three headers or nothing."""
    headers = {"x-rate-limit-limit": "7500", "x-rate-limit-remaining": "6337", "x-rate-limit-reset": "33928"}
    assert answers.quota(headers) == answers.Quota(7500, 6337, 33928)
    assert answers.quota({**headers, "x-rate-limit-reset": "later"}) is None
    assert answers.quota({}) is None


def test_the_sources_clock() -> None:
    """The Date header, or our own clock."""
    assert answers.sent_at({"date": format_datetime(NOW)}, NOW + timedelta(hours=1)) == NOW
    assert answers.sent_at({"date": "today"}, NOW) == NOW


@pytest.mark.parametrize(
    "url",
    [
        "https://www.zohoapis.com",
        "https://accounts.zohocloud.ca/",
        "https://www.zohoapis.eu:443",
        "http://127.0.0.1:8900",
        "http://localhost:1",
        "http://[::1]:1",
    ],
)
def test_allowed_hosts(url: str) -> None:
    """Zoho's own hosts over https, and this machine."""
    assert hosts.checked(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://www.zohoapis.com",
        "https://www.zohoapis.com.evil.example",
        "https://evil.example/www.zohoapis.com",
        "https://www.zohoapis.com@evil.example",
        "https://www.zohoapis.com:8443",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "ftp://127.0.0.1",
        "https://user:password@www.zohoapis.com",
        "https://127.0.0.1.evil.example",
        "",
    ],
)
def test_other_hosts(url: str) -> None:
    """Nothing else, however it is dressed."""
    with pytest.raises(ValueError, match=r".+"):
        hosts.checked(url)
