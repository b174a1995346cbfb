"""Takes the pictures of the page in docs/pictures: `python docs/screenshots.py`.

Of a generated history, by Debian's chromium; the clock of the API stands still at its end, so that all pictures show
the same moment and the same arguments give the same pictures but for the date.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import sync_playwright

from benchmarks.generate import generate
from service.answers.health import Health
from service.answers.host import Host, host
from service.answers.monitor import ResourceMonitor
from service.clock import DAY, Clock, Instant
from service.config import load
from service.host.machine import Machine
from service.store.reader import History
from service.web.app import create_app
from service.web.server import Server

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 250_000
WIDE, NARROW = {"width": 1260, "height": 680}, {"width": 390, "height": 844}


class Standing(Clock):
    """At one moment."""

    def __init__(self, wall: float) -> None:
        self._wall = wall

    def now(self) -> Instant:
        return Instant(self._wall, 0.0, 0.0)


class Shown(ResourceMonitor):
    """Of the host that the generated history is of, and not of the one that takes the pictures."""

    def host(self) -> Host:
        booted = int(self._clock.now().wall) - 41 * DAY
        memory = 8_255_242_240
        return host(
            Machine("db1.example", 4, memory, "6.1.0-18-amd64", "Debian GNU/Linux 12", booted), "", self.oldest()
        )


@contextmanager
def served(database: Path, end: int) -> Iterator[str]:
    """The page over the history, as the daemon would serve it at `end`."""
    settings, _ = load(environment={}, options={"storage.path": str(database)})
    clock, history = Standing(end), History(database, pooled=True)
    health = Health(
        status="ok",
        newest_sample_age_seconds=0.5,
        interval=5,
        last_error=None,
        database_bytes=database.stat().st_size,
        spooled_samples=0,
    )
    monitor = Shown(history, settings, clock)
    server = Server(create_app(monitor, settings, clock, lambda: health, dict), "127.0.0.1", 0)
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join()
        history.close()


def open_peak(page: Any) -> None:
    page.locator("#chart-cpu .peaks button").last.click()
    page.locator("#who.moment tbody tr").first.wait_for()
    box = page.locator("#chart-cpu canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)


def open_moment(page: Any) -> None:
    box = page.locator("#chart-stack canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    page.locator("#who.moment tbody tr").first.wait_for()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)


def nothing(page: Any) -> None:
    pass


def show_year(page: Any) -> None:
    page.locator("#year").scroll_into_view_if_needed()
    page.locator(".days .heat5").first.wait_for(state="attached")
    page.locator("#mounts li").first.wait_for()
    page.evaluate("document.getElementById('mounts').scrollIntoView({block: 'start'}); scrollBy(0, -100)")


# The view, the window, light or dark, and what is done before.
SHOTS: dict[str, tuple[str, dict[str, int], str, Callable[[Any], None]]] = {
    "day": ("?range=24h", WIDE, "light", nothing),
    "dark": ("?range=24h&compare=last+week", WIDE, "dark", open_moment),
    "peak": ("?range=24h", WIDE, "light", open_peak),
    "year": ("?range=1y", WIDE, "light", show_year),
    "phone": ("?range=24h", NARROW, "light", nothing),
}


def shoot(browser: Any, url: str, name: str) -> None:
    """Write one picture, and say how large it is.

    :raises RuntimeError: if it is larger than a README should make people load.
    """
    view, viewport, scheme, prepare = SHOTS[name]
    page = browser.new_page(viewport=viewport, color_scheme=scheme, timezone_id="UTC")
    page.goto(f"{url}{view}")
    page.locator("#insights:visible").wait_for()
    page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
    page.locator("#chart-stack .legend button").first.wait_for()
    prepare(page)
    page.wait_for_timeout(500)
    file = PICTURES / f"{name}.png"
    size = len(page.screenshot(path=file))
    page.close()
    print(f"{file.relative_to(ROOT)}: {size} bytes")
    if size > MOST_BYTES:
        raise RuntimeError(f"{file} is larger than {MOST_BYTES} bytes")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    # A little ahead, because the browser's clock goes on while pictures are taken.
    end = int(time.time()) + 150
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        database = Path(folder) / "tidemark.db"
        generate(database, end_ts=end, sample_days=7, minute_days=30, hour_days=400)
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with served(database, end) as url:
            for name in SHOTS:
                shoot(browser, url, name)
        browser.close()


if __name__ == "__main__":
    main()
