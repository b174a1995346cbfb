"""A real browser before a real daemon: one Chromium and one generated history for all tests of this folder."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.generate import generate
from tests.running import Running

CHROMIUM = shutil.which("chromium")
# One worker has them all, and so one browser.
GROUP = pytest.mark.xdist_group("browser")
VIEWPORT = {"width": 1280, "height": 900}
ZONE = "America/New_York"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(GROUP)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """For the package and not the session: while it runs, no other test of this process could use asyncio."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history that ends now: hours of a year, minutes of nine days, samples of one."""
    path = tmp_path_factory.mktemp("year") / "tidemark.db"
    generate(path, end_ts=int(time.time()), sample_days=1, minute_days=9, hour_days=370)
    return path


def until(page: Any, holds: Callable[[], bool], seconds: float = 30) -> None:
    """Waits as the browser's events come in, which a plain sleep would keep out."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        page.wait_for_timeout(50)


def ended(daemon: Running) -> None:
    daemon.process.kill()
    daemon.process.wait()
    assert daemon.process.stdout is not None
    daemon.process.stdout.close()


@pytest.fixture(scope="package")
def daemon(year: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Over the generated history, for tests that leave it as it is."""
    daemon = Running(year, tmp_path_factory.mktemp("daemon") / "stderr")
    yield daemon
    ended(daemon)


class Visit:
    """A tab of its own, and what went on in it: messages of the console, errors, addresses that were asked."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": VIEWPORT, "timezone_id": ZONE, **options})
        self.page = self.context.new_page()
        self.url = url
        self.trouble: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"a dialog: {dialog.message}"))
        self.context.on("request", lambda request: self.asked.append(request.url))

    def _hear(self, kind: str, text: str) -> None:
        # That canvases are read is the tests' own doing.
        if kind in ("error", "warning") and not text.startswith("Canvas2D"):
            self.trouble.append(text)

    def open(self, address: str = "") -> Any:
        """The page once its first chart is drawn and what stands beside it is there."""
        self.page.goto(f"{self.url}/{address}")
        self.page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
        return self.page

    def foreign(self) -> list[str]:
        """What was asked of anybody else."""
        own = urlsplit(self.url).netloc
        return [url for url in self.asked if urlsplit(url).netloc != own and not url.startswith("data:")]


Visits = Callable[..., Visit]


@pytest.fixture
def visits(browser: Any, daemon: Running) -> Iterator[Visits]:
    """`visits(url=..., troubled=False, **options of the context)`: a new visit; at the end there was no error in it,
    unless it is `troubled`, and it asked nobody but its host."""
    with ExitStack() as stack:
        checked: list[Visit] = []

        def begin(url: str = daemon.url, troubled: bool = False, **options: Any) -> Visit:
            visit = Visit(browser, url, **options)
            stack.callback(visit.context.close)
            if not troubled:
                checked.append(visit)
            return visit

        yield begin
        assert [trouble for visit in checked for trouble in visit.trouble] == []
        assert [url for visit in checked for url in visit.foreign()] == []


@pytest.fixture
def visit(visits: Visits) -> Visit:
    return visits()
