"""Signing in: a cookie in place of the token, set only for the page itself and invalid once the token changes."""

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.answers.monitor import ResourceMonitor
from service.config import Settings
from service.web.sign_in import SignIn
from tests.conftest import FakeClock, client_for

TOKEN = "a-long-random-token"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}


@pytest.fixture
def guarded(monitor: ResourceMonitor, settings: Settings, clock: FakeClock) -> FlaskClient:
    return client_for(monitor, settings, clock, token=TOKEN)


def sign_in(client: FlaskClient, token: str = TOKEN, **headers: str) -> TestResponse:
    return client.post("/sign-in", data={"token": token}, headers={**OWN, **headers})


def test_who_signs_in_is_let_in_until_signing_out(guarded: FlaskClient) -> None:
    assert guarded.get("/api/v1/gaps").status_code == 401
    assert sign_in(guarded).status_code == 204
    assert guarded.get("/api/v1/gaps").status_code == 200
    assert guarded.post("/sign-out", headers=OWN).status_code == 204
    assert guarded.get("/api/v1/gaps").status_code == 401


def test_the_cookie_proves_the_token_and_does_not_hold_it(guarded: FlaskClient) -> None:
    cookie = sign_in(guarded).headers["Set-Cookie"]
    value, *attributes = cookie.split("; ")
    assert TOKEN not in cookie
    assert value == f"{SignIn(TOKEN).cookie}={SignIn(TOKEN).proof}"
    # Without a path the browser takes its own, which is right behind a proxy's prefix too; without an expiry the cookie
    # ends with the browser.
    assert attributes == ["HttpOnly", "SameSite=Strict"]


def test_over_https_the_cookie_stays_there(guarded: FlaskClient) -> None:
    assert "Secure" in sign_in(guarded, Origin="https://localhost").headers["Set-Cookie"].split("; ")


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1], SignIn(TOKEN).proof, "ü" * 19, "\0"])
def test_a_wrong_token_is_401_and_sets_nothing(guarded: FlaskClient, token: str) -> None:
    response = sign_in(guarded, token)
    assert (response.status_code, response.json) == (401, {"error": "this is not the token"})
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("value", ["", TOKEN, SignIn(TOKEN + "x").proof, SignIn(TOKEN).proof[:-1], "ü"])
def test_a_cookie_that_proves_nothing_is_none(guarded: FlaskClient, value: str) -> None:
    cookie = f"{SignIn(TOKEN).cookie}={value}".encode().decode("latin-1")
    assert guarded.get("/api/v1/gaps", headers={"Cookie": cookie}).status_code == 401


def test_a_new_token_makes_every_cookie_invalid(
    monitor: ResourceMonitor, settings: Settings, clock: FakeClock, guarded: FlaskClient
) -> None:
    cookie = sign_in(guarded).headers["Set-Cookie"].split(";")[0]
    assert guarded.get("/api/v1/gaps", headers={"Cookie": f"other=1; {cookie}"}).status_code == 200
    changed = client_for(monitor, settings, clock, token=TOKEN + "2")
    assert changed.get("/api/v1/gaps", headers={"Cookie": cookie}).status_code == 401


def test_two_daemons_of_one_host_have_cookies_of_two_names() -> None:
    assert SignIn(TOKEN).cookie != SignIn(TOKEN + "2").cookie


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8931"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("url", ["/sign-in", "/sign-out"])
def test_a_page_of_another_origin_signs_nobody_in_or_out(
    guarded: FlaskClient, url: str, headers: dict[str, str]
) -> None:
    response = guarded.post(url, data={"token": TOKEN}, headers=headers)
    assert (response.status_code, response.json) == (403, {"error": "only the page itself may sign in and out"})
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}])
def test_the_page_itself_and_what_is_no_browser_may_sign_in(guarded: FlaskClient, headers: dict[str, str]) -> None:
    assert guarded.post("/sign-in", data={"token": TOKEN}, headers=headers).status_code == 204


@pytest.mark.parametrize("url", ["/sign-in", "/sign-out"])
def test_signing_in_and_out_takes_post_alone(guarded: FlaskClient, url: str) -> None:
    response = guarded.get(f"{url}?token={TOKEN}")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.json == {"error": "method not allowed: takes POST"}


def test_without_a_token_there_is_nothing_to_sign_in_to(client: FlaskClient) -> None:
    assert sign_in(client).status_code == 400
    assert client.post("/sign-out", headers=OWN).status_code == 204


@pytest.mark.parametrize("url", ["/", "/static/page.js", "/static/nothing"])
def test_the_page_is_open_and_holds_no_data(guarded: FlaskClient, url: str) -> None:
    with guarded.get(url) as response:
        assert response.status_code == (404 if "nothing" in url else 200)


@pytest.mark.parametrize("url", ["//", "/static", "/index.html", "/api/docs", "/static/../metrics", "/sign-in/"])
def test_an_address_like_that_of_the_page_is_not_open(guarded: FlaskClient, url: str) -> None:
    assert guarded.get(url).status_code in (401, 404)


def test_the_description_of_the_api_has_a_page(client: FlaskClient) -> None:
    with client.get("/api/docs") as response:
        assert (response.status_code, response.mimetype) == (200, "text/html")
        assert b"<title>" in response.data


def test_the_page_is_asked_for_again_and_sent_once(client: FlaskClient) -> None:
    with client.get("/") as first:
        assert (first.mimetype, first.headers["Cache-Control"]) == ("text/html", "no-cache")
    with client.get("/", headers={"If-None-Match": first.headers["ETag"]}) as again:
        assert (again.status_code, again.data) == (304, b"")
    assert "default-src 'self'" in again.headers["Content-Security-Policy"]


def test_token_and_cookie_are_compared_in_time_that_does_not_depend_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)))
    guard = SignIn(TOKEN)
    guard.is_token(b"given")
    guard.is_signed_in({"HTTP_AUTHORIZATION": "Bearer given", "HTTP_COOKIE": f"{guard.cookie}=proof"})
    bearer = (b"Bearer given", b"Bearer " + TOKEN.encode())
    assert compared == [(b"given", TOKEN.encode()), bearer, (b"proof", guard.proof.encode())]


# -- wrong tokens


def bearing(client: FlaskClient, token: str) -> TestResponse:
    return client.get("/api/v1/metrics", headers={"Authorization": f"Bearer {token}"})


def test_after_five_wrong_tokens_in_a_minute_more_are_429(guarded: FlaskClient, steady: list[float]) -> None:
    statuses = [bearing(guarded, "wrong").status_code for _ in range(3)]
    statuses += [sign_in(guarded, "wrong").status_code for _ in range(3)]
    assert statuses == [401] * 5 + [429]
    response = bearing(guarded, "wrong")
    assert (response.status_code, response.headers["Retry-After"], list(response.json)) == (429, "60", ["error"])
    steady[0] += 60
    assert bearing(guarded, "wrong").status_code == 401


def test_the_right_token_and_none_are_answered_as_ever_meanwhile(guarded: FlaskClient, steady: list[float]) -> None:
    """Else anybody could lock others out."""
    assert [bearing(guarded, "wrong").status_code for _ in range(7)][-1] == 429
    assert guarded.get("/api/v1/metrics").status_code == 401
    assert bearing(guarded, TOKEN).status_code == 200
    assert sign_in(guarded).status_code == 204


def test_wrong_tokens_are_logged_in_two_lines_a_minute_and_their_number(
    guarded: FlaskClient, steady: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    logged = []
    for _ in range(3273):
        bearing(guarded, "wrong")
        logged.append(len(caplog.messages))
    assert logged == [1] * 5 + [2] * 3268
    lines = ["a wrong token from 127.0.0.1", "more than 5 wrong tokens within a minute, the last from 127.0.0.1"]
    assert caplog.messages == lines
    steady[0] += 61
    bearing(guarded, TOKEN)
    assert caplog.messages == [*lines, "3273 wrong tokens within a minute"]
    bearing(guarded, TOKEN)
    assert len(caplog.messages) == 3
