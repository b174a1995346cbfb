"""The page where a token is set, and behind a proxy's prefix."""

import http.client
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import Visit, Visits, ended, until
from tests.browser.test_page import drag, text, violations
from tests.running import Running

TOKEN = "a token of <some> length & more"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A new daemon with a token."""
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    daemon = Running(
        folder / "tidemark.db", folder / "stderr", "--log-level", "DEBUG", TIDEMARK_SERVER_TOKEN_FILE=str(file)
    )
    daemon.wait_for_samples(3)
    yield daemon
    ended(daemon)


def sign_in(page: Any, token: str) -> None:
    page.locator("#token").fill(token)
    page.locator("#sign-in button").click()


def without_expected(visit: Visit) -> list[str]:
    """Browsers note every 401 as an error."""
    return [trouble for trouble in visit.trouble if "status of 401" not in trouble]


def test_with_a_token_a_person_signs_in_and_out(visits: Visits, guarded: Running) -> None:
    visit = visits(guarded.url, troubled=True)
    visit.page.goto(guarded.url)
    page = visit.page
    page.locator("#sign-in").wait_for()
    # Nothing is shown that these could be of.
    assert [name for name in ("link", "csv", "to-sql", "theme") if page.locator(f"#{name}").is_visible()] == ["theme"]
    assert page.locator("#main").is_hidden()
    assert violations(page) == []
    sign_in(page, "a wrong one")
    until(page, lambda: text(page, "#refused") == "Wrong token.")
    sign_in(page, TOKEN)
    page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
    [cookie] = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"], cookie["path"]) == (True, "Strict", -1, "/")
    assert TOKEN not in cookie["value"]
    assert page.evaluate("document.cookie") == ""
    page.reload()
    page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
    page.locator("#sign-out").click()
    page.locator("#sign-in").wait_for()
    assert visit.context.cookies() == []
    assert without_expected(visit) == []
    assert visit.foreign() == []
    assert [url for url in visit.asked if "token" in urlsplit(url).query or "length" in url] == []
    assert TOKEN not in guarded.errors.read_text()


def test_signing_out_in_one_tab_shows_in_the_other(visits: Visits, guarded: Running) -> None:
    visit = visits(guarded.url, troubled=True)
    visit.page.goto(guarded.url)
    sign_in(visit.page, TOKEN)
    visit.page.locator("#sign-out").wait_for()
    other = visit.context.new_page()
    other.goto(guarded.url)
    other.locator("#sign-out").click()
    other.locator("#sign-in").wait_for()
    visit.page.locator("#sign-in").wait_for()


class Proxy(BaseHTTPRequestHandler):
    """Serves another server below /tide/."""

    protocol_version = "HTTP/1.1"
    target = ""

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        if not self.path.startswith("/tide/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(self.target, timeout=20)
        headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Connection")}
        upstream.request(self.command, self.path.removeprefix("/tide"), body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "date", "server"):
                self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def prefixed(guarded: Running) -> Iterator[str]:
    handler = type("ToGuarded", (Proxy,), {"target": urlsplit(guarded.url).netloc})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/tide"
    server.shutdown()
    server.server_close()


def test_below_a_path_of_a_proxy_everything_works(visits: Visits, prefixed: str) -> None:
    visit = visits(prefixed, troubled=True)
    page = visit.page
    page.goto(f"{prefixed}/")
    sign_in(page, TOKEN)
    page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
    assert [cookie["path"] for cookie in visit.context.cookies()] == ["/tide"]
    drag(page, 0.2, 0.8)
    until(page, lambda: "/tide/?start=" in page.evaluate("location.href"))
    page.locator("#sign-out").click()
    page.locator("#sign-in").wait_for()
    assert visit.context.cookies() == []
    assert [url for url in visit.asked if not urlsplit(url).path.startswith("/tide/")] == []
    assert without_expected(visit) == []
