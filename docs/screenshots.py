"""Takes the pictures of the page in docs/pictures: `python docs/screenshots.py`.

Of a generated history, by Debian's chromium; the clock of the API stands still at its end, so that all pictures show
the same moment and the same arguments give the same pictures but for the date.
"""

import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import sync_playwright

from benchmarks.generate import MEMORY_BYTES, generate
from service.answers.health import Health
from service.answers.host import Host, host
from service.answers.monitor import ResourceMonitor
from service.clock import DAY, Clock, Instant
from service.config import load
from service.host.limits import Limits
from service.host.machine import Machine
from service.store.reader import History
from service.web.app import create_app
from service.web.server import Server

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 120_000
COLOURS = 256
SIGNATURE = b"\x89PNG\r\n\x1a\n"
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
        memory = int(MEMORY_BYTES)
        return host(
            Machine(
                "db1.example", 4, memory, "6.1.0-18-amd64", "Debian GNU/Linux 12", booted, "host", Limits(None, None)
            ),
            "",
            self.oldest(),
            self._first_capture_seconds,
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


def with_palette(png: bytes) -> bytes:
    """The same picture in fewer colours, which takes half the room: others become the nearest of those."""
    width, height, pixels = decoded(png)
    counts = Counter(pixels)
    kept, numbers = [max(counts, key=counts.__getitem__)], dict.fromkeys(counts, 0)
    errors = {colour: apart(kept[0], colour) for colour in counts}
    # Next what would be most wrong in all: a rare colour that is like no other counts too.
    while len(kept) < COLOURS and any(errors.values()):
        worst = max(counts, key=lambda colour: errors[colour] * counts[colour] ** 0.5)
        for colour, error in errors.items():
            if error and (nearer := apart(worst, colour)) < error:
                errors[colour], numbers[colour] = nearer, len(kept)
        kept.append(worst)
    rows = (bytes([0, *map(numbers.__getitem__, pixels[at : at + width])]) for at in range(0, width * height, width))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", b"".join(kept)), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(name, data) for name, data in parts)


def apart(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def decoded(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and the pixels of a PNG of chromium: three or four bytes a pixel, of which three are taken."""
    at, packed, width, height, wide = len(SIGNATURE), b"", 0, 0, 3
    while at < len(png):
        (size,), name, data = struct.unpack_from(">I", png, at), png[at + 4 : at + 8], png[at + 8 :]
        if name == b"IHDR":
            width, height, _, kind = struct.unpack_from(">IIBB", data)
            wide = 4 if kind == 6 else 3
        packed += data[:size] if name == b"IDAT" else b""
        at += size + 12
    raw, before, pixels = zlib.decompress(packed), bytes(width * wide), []
    for start in range(0, len(raw), width * wide + 1):
        before = unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + width * wide]), before, wide)
        pixels += [before[n : n + 3] for n in range(0, width * wide, wide)]
    return width, height, pixels


def unfiltered(kind: int, row: bytearray, above: bytes, wide: int) -> bytes:
    """A row of a PNG as it was before it was filtered: https://www.w3.org/TR/png/#9Filters."""
    for n in range(len(row) if kind else 0):
        left, over, corner = (row[n - wide], above[n], above[n - wide]) if n >= wide else (0, above[n], 0)
        if kind == 4:
            guess = left + over - corner
            by_left, by_over, by_corner = abs(guess - left), abs(guess - over), abs(guess - corner)
            added = left if by_left <= min(by_over, by_corner) else over if by_over <= by_corner else corner
        else:
            added = (0, left, over, (left + over) // 2)[kind]
        row[n] = (row[n] + added) & 255
    return bytes(row)


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
    file.write_bytes(with_palette(page.screenshot()))
    size = file.stat().st_size
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
        generate(database, end_ts=end, sample_days=2, minute_days=9, hour_days=400)
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with served(database, end) as url:
            for name in SHOTS:
                shoot(browser, url, name)
        browser.close()


if __name__ == "__main__":
    main()
