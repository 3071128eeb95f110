import threading
from datetime import datetime

import pytest
from fixtures.sandbox import Sandbox

RATES = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset")


def rates(answer) -> list[int]:
    return [int(answer.headers[name]) for name in RATES]


@pytest.fixture
def limited(sandbox: Sandbox) -> Sandbox:
    """A sandbox that keeps its limits, at ten o'clock in the organisation's morning."""
    sandbox.control("POST", "/clock", set="2026-03-02T10:00:00+0300", frozen=True)
    sandbox.control("POST", "/limits", enabled=True, reset=True)
    return sandbox


def test_headers_on_every_scoped_answer(limited: Sandbox):
    """Fact 33: the three headers come with successes and errors, and Reset counts down to local midnight."""
    limit, remaining, reset = rates(limited.get("/books/v3/items", per_page=1))
    assert (limit, remaining, reset) == (10_000, 9_999, 14 * 3600)
    assert rates(limited.get("/books/v3/items/1"))[1] == 9_998
    assert rates(limited.get("/books/v3/items", organization_id="1"))[1] == 9_997
    assert rates(limited.call("POST", "/books/v3/items", json={}))[1] == 9_996
    assert rates(limited.get("/inventory/v1/items", per_page=1))[:2] == [7_500, 7_499]
    answer = limited.get("/books/v3/organizations")
    assert not any(name in answer.headers for name in RATES)


def test_recorded_headers(limited: Sandbox):
    """The constant headers are the recorded ones."""
    answer = limited.get("/books/v3/items", per_page=1)
    assert answer.headers["server"] == "ZGS"
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["content-disposition"] == "attachment;"
    assert "date" not in answer.headers


def test_hundred_calls_a_minute(limited: Sandbox):
    """Facts 34 and 42: the 101st call of a minute is 429 code 44, and is counted as well."""
    answers = [limited.get("/books/v3/users") for _ in range(101)]
    assert {answer.status_code for answer in answers[:100]} == {200}
    assert (answers[100].status_code, answers[100].json()["code"]) == (429, 44)
    assert "retry-after" not in answers[100].headers
    assert rates(answers[100])[1] == 10_000 - 101
    limited.control("POST", "/clock", advance=61)
    assert limited.get("/books/v3/users").status_code == 200


def test_sliding_minute(limited: Sandbox):
    """The minute may also be the last sixty seconds."""
    limited.control("POST", "/limits", window="sliding", per_minute=4, reset=True)
    for _ in range(4):
        limited.control("POST", "/clock", advance=10)
        assert limited.get("/books/v3/users").status_code == 200
    assert limited.get("/books/v3/users").json()["code"] == 44
    limited.control("POST", "/clock", advance=61)
    assert limited.get("/books/v3/users").status_code == 200


def test_daily_quota(limited: Sandbox):
    """Fact 34: beyond the daily quota it is 429 code 45 until local midnight; the products count separately."""
    limited.control("POST", "/limits", per_day_books=3, reset=True)
    answers = [limited.get("/books/v3/users") for _ in range(4)]
    assert (answers[3].status_code, answers[3].json()["code"], rates(answers[3])[1]) == (429, 45, 0)
    assert answers[3].json()["message"].endswith("maximum call rate limit of 3.")
    assert limited.get("/inventory/v1/users").status_code == 200
    limited.control("POST", "/clock", advance=rates(answers[3])[2] + 1)
    limited._token = ""
    assert limited.get("/books/v3/users").status_code == 200


def test_errors_count(limited: Sandbox):
    """Fact 42: errors use up the quota like any call."""
    limited.control("POST", "/limits", per_day_books=2, reset=True)
    assert [limited.get("/books/v3/users/1").status_code for _ in range(3)] == [404, 404, 429]


def test_eleven_at_once(limited: Sandbox):
    """Fact 34: more than ten calls in process are 429 code 1070."""
    limited.get("/books/v3/users")
    limited.plant("hang", path="/bills", times=10)
    hanging = [threading.Thread(target=limited.get, args=("/books/v3/bills",)) for _ in range(10)]
    for thread in hanging:
        thread.start()
    while limited.control("GET", "/limits")["in_flight"] < 10:
        pass
    answer = limited.get("/books/v3/users")
    limited.control("DELETE", "/break")
    for thread in hanging:
        thread.join(10)
    assert (answer.status_code, answer.json()["code"]) == (429, 1070)
    assert limited.get("/books/v3/users").status_code == 200


def test_hard_block(limited: Sandbox):
    """Fact 34: a flood trips an hour's block: 429 code 43 with Retry-After and without rate headers."""
    limited.control("POST", "/limits", hard_block_at=20, reset=True)
    answers = [limited.get("/books/v3/organizations") for _ in range(21)]
    blocked = answers[20]
    assert (blocked.status_code, blocked.json()["code"], blocked.headers["retry-after"]) == (429, 43, "3600")
    assert not any(name in blocked.headers for name in RATES)
    assert limited.get("/books/v3/items").json()["code"] == 43
    limited.control("POST", "/clock", advance=3601)
    limited._token = ""
    assert limited.get("/books/v3/users").status_code == 200


def test_old_throttling_with_status_200(limited: Sandbox):
    """The old behaviour is a switch: status 200 with the code as text."""
    limited.switch(throttle_as_200=True)
    limited.control("POST", "/limits", block=60)
    answer = limited.get("/books/v3/items")
    assert (answer.status_code, answer.json()["code"]) == (200, "43")


def test_reset_follows_the_clock(limited: Sandbox):
    """Reset is the organisation's midnight, not that of UTC."""
    limited.control("POST", "/clock", set="2026-03-02T23:59:00+0300")
    limited._token = ""
    assert rates(limited.get("/books/v3/users"))[2] == 60
    moment = datetime.fromisoformat(limited.control("GET", "/clock")["now"])
    assert (moment.hour, moment.minute) == (23, 59)
