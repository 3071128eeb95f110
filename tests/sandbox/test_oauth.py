import pytest
from fixtures.sandbox import Sandbox

TOKEN = "/oauth/v2/token"


def given(sandbox: Sandbox, **changes: str) -> dict[str, str]:
    announced = sandbox.announced
    return {
        "grant_type": "refresh_token",
        "refresh_token": announced.refresh_token,
        "client_id": announced.client_id,
        "client_secret": announced.client_secret,
        **changes,
    }


@pytest.mark.parametrize("place", ["params", "data"])
def test_token_by_query_and_by_form(sandbox: Sandbox, place: str):
    """Fact 1: the parameters may be in the query or in a form; the answer has no refresh token."""
    answer = sandbox.http.post(TOKEN, **{place: given(sandbox)})
    body = answer.json()
    assert answer.status_code == 200
    assert body.keys() == {"access_token", "scope", "api_domain", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"], body["api_domain"]) == ("Bearer", 3600, sandbox.api)


def test_client_may_authenticate_by_basic(sandbox: Sandbox):
    """Fact 1: client id and secret are also taken from Basic authentication."""
    announced = sandbox.announced
    form = {"grant_type": "refresh_token", "refresh_token": announced.refresh_token}
    answer = sandbox.http.post(TOKEN, data=form, auth=(announced.client_id, announced.client_secret))
    assert "access_token" in answer.json()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"refresh_token": "1000.dead.beef"}, "invalid_code"),
        ({"client_id": "1000.NOBODY"}, "invalid_client"),
        ({"client_secret": "wrong"}, "invalid_client_secret"),
    ],
)
def test_errors_come_with_status_200(sandbox: Sandbox, changes: dict[str, str], error: str):
    """Fact 2: a bad refresh token or client is an error inside a successful answer."""
    answer = sandbox.http.post(TOKEN, data=given(sandbox, **changes))
    assert (answer.status_code, answer.json()) == (200, {"error": error})


def test_eleventh_refresh_in_ten_minutes_is_throttled(sandbox: Sandbox):
    """Fact 3: ten access tokens in ten minutes, then status 400 until the window moves on."""
    sandbox.control("POST", "/limits", enabled=True)
    for _ in range(10):
        assert "access_token" in sandbox.http.post(TOKEN, data=given(sandbox)).json()
    answer = sandbox.http.post(TOKEN, data=given(sandbox))
    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (400, "Access Denied", "failure")
    sandbox.control("POST", "/clock", advance=601)
    assert "access_token" in sandbox.http.post(TOKEN, data=given(sandbox)).json()


@pytest.mark.parametrize("header", [None, "Zoho-oauthtoken nonsense", "Token x"])
def test_no_or_bad_token_is_57(sandbox: Sandbox, header: str | None):
    """Fact 4: a missing or invalid token is 401 code 57."""
    headers = {"Authorization": header} if header else {}
    answer = sandbox.http.get("/books/v3/items", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, 57)


def test_missing_scope_is_the_same_57(sandbox: Sandbox):
    """Fact 4: a token without the scope gets the very same answer as a bad token."""
    sandbox.control("POST", "/oauth", scope="ZohoBooks.contacts.READ")
    assert sandbox.get("/books/v3/contacts").status_code == 200
    refused = sandbox.get("/books/v3/items")
    bad = sandbox.http.get("/books/v3/items", headers={"Authorization": "Zoho-oauthtoken x"})
    assert (refused.status_code, refused.json()) == (401, bad.json())
    assert sandbox.call("POST", "/books/v3/contacts", json={"contact_name": "x"}).status_code == 401


def test_tokens_expire_after_an_hour(sandbox: Sandbox):
    """Fact 5: a token is good for 3600 s, not longer."""
    assert sandbox.get("/books/v3/items").status_code == 200
    sandbox.control("POST", "/clock", advance=3590)
    assert sandbox.get("/books/v3/items").status_code == 200
    sandbox.control("POST", "/clock", advance=20)
    assert sandbox.get("/books/v3/items").status_code == 401


def test_bearer_is_a_switch(sandbox: Sandbox):
    """Fact 5: Zoho-oauthtoken is the scheme; whether Bearer works too is an open point."""
    token = sandbox.token()
    headers = {"Authorization": f"Bearer {token}"}
    assert sandbox.http.get("/books/v3/items", headers=headers).status_code == 200
    sandbox.switch(bearer_accepted=False)
    assert sandbox.http.get("/books/v3/items", headers=headers).status_code == 401


@pytest.mark.parametrize(("code", "message"), [
    (57, "You are not authorized to perform this operation"), (14, "Invalid value passed for authtoken."),
])  # fmt: skip
def test_code_of_a_bad_token_is_a_switch(sandbox: Sandbox, code: int, message: str):
    """Some third parties saw code 14 instead of 57 for a bad token."""
    sandbox.switch(expired_token_code=code)
    answer = sandbox.http.get("/books/v3/items", headers={"Authorization": "Zoho-oauthtoken x"})
    assert (answer.status_code, answer.json()) == (401, {"code": code, "message": message})


def test_code_exchange_gives_a_refresh_token_once(sandbox: Sandbox):
    """A grant code is exchanged once, within a minute, and brings a refresh token along."""
    code = sandbox.control("POST", "/oauth", code=True)["code"]
    form = given(sandbox, grant_type="authorization_code", code=code)
    answer = sandbox.http.post(TOKEN, data=form).json()
    again = sandbox.http.post(TOKEN, data=form).json()
    assert again == {"error": "invalid_code"}
    assert "access_token" in sandbox.http.post(TOKEN, data=given(sandbox, refresh_token=answer["refresh_token"])).json()
    late = sandbox.control("POST", "/oauth", code=True)["code"]
    sandbox.control("POST", "/clock", advance=61)
    assert sandbox.http.post(TOKEN, data=form | {"code": late}).json() == {"error": "invalid_code"}


def test_revoked_tokens_are_dead(sandbox: Sandbox):
    """Revoking the refresh token ends it and every access token, until it is restored."""
    assert sandbox.get("/books/v3/items").status_code == 200
    answer = sandbox.http.post(f"{TOKEN}/revoke", params={"token": sandbox.announced.refresh_token})
    assert answer.status_code == 200
    assert sandbox.get("/books/v3/items").status_code == 401
    assert sandbox.http.post(TOKEN, data=given(sandbox)).json() == {"error": "invalid_code"}
    sandbox.control("POST", "/oauth", restore=True)
    assert "access_token" in sandbox.http.post(TOKEN, data=given(sandbox)).json()
