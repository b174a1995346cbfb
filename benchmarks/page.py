"""Measures the page in Debian's chromium: `python benchmarks/page.py [--runs 5] [--only frames|pages|bytes]`.

`frames`: the work of the browser's main thread in each frame while a year pans under the wheel: input, scripts, style,
layout, paint, and, as there is no GPU, the pixels of the charts; `scripts`: of it, the page's own. Wall time is what a
person waits for; CPU time (the thread's own clock) leaves out what other programs took meanwhile. Each run has a
maximum; the least of the maxima is what the machine's noise does not make.
`pages`: the daemon's CPU with no page open, and with 20 that follow the present. `bytes`: what opening the page loads.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import sync_playwright

from benchmarks.harness import Bench, Figure, cpu_ms, daemon
from benchmarks.run import _line

VIEWPORT = {"width": 1440, "height": 900}
CATEGORIES = ["toplevel", "devtools.timeline"]
FRAME_MS = 16
TURNS = 300
PAGES = 20
SECONDS = 60
# Of one core.
MOST_PERCENT = 5
MOST_BYTES = 150_000


def opened(browser: Any, url: str, address: str = "") -> Any:
    """A page of a browser or a context."""
    page = browser.new_page()
    page.set_viewport_size(VIEWPORT)
    page.goto(f"{url}/{address}")
    page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
    page.locator("#chart-stack .legend button").first.wait_for()
    page.locator("#insights:visible").wait_for()
    return page


def pan(page: Any) -> None:
    """Into the past and back, further than a view, with rests in which the page asks for what it shows."""
    box = page.locator("#chart-stack canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for turn in range(TURNS):
        page.mouse.wheel(-12 if turn < 2 * TURNS / 3 else 24, 0)
        if turn % 75 == 74:
            page.wait_for_timeout(400)


class Frame(NamedTuple):
    """Milliseconds of one task of the page's main thread in which a frame was drawn; `script`: of it in its scripts."""

    wall: float
    cpu: float
    script: float
    script_cpu: float


def frames(trace: bytes) -> list[Frame]:
    events = [each for each in json.loads(trace)["traceEvents"] if each["ph"] == "X" and "tdur" in each]
    drawn = [each for each in events if each["name"] == "FireAnimationFrame"]
    thread = (drawn[0]["pid"], drawn[0]["tid"])
    own = sorted((each for each in events if (each["pid"], each["tid"]) == thread), key=lambda each: each["ts"])
    stamps = [each["ts"] for each in own]
    found = []
    for task in (each for each in own if each["name"] == "ThreadControllerImpl::RunTask"):
        within = own[bisect_left(stamps, task["ts"]) : bisect_left(stamps, task["ts"] + task["dur"])]
        if any(each["name"] == "FireAnimationFrame" for each in within):
            calls = [each for each in within if each["name"] == "FunctionCall"]
            script, script_cpu = (sum(each[key] for each in calls) / 1000 for key in ("dur", "tdur"))
            found.append(Frame(task["dur"] / 1000, task["tdur"] / 1000, script, script_cpu))
    return found


def share(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def panning(bench: Bench, browser: Any, runs: int) -> Iterator[Figure]:
    database = bench.history("short", sample_days=1, minute_days=9, hour_days=800)
    with daemon(bench, database) as server:
        page = opened(browser, f"http://127.0.0.1:{server.port}", "?range=1y")
        all_of: list[list[Frame]] = []
        for _ in range(runs):
            page.goto(f"http://127.0.0.1:{server.port}/?range=1y")
            page.locator("#chart-stack .legend button").first.wait_for()
            page.wait_for_timeout(1500)
            browser.start_tracing(page=page, categories=CATEGORIES)
            pan(page)
            all_of.append(frames(browser.stop_tracing()))
        page.close()
    for number, what in enumerate(("wall", "CPU", "scripts, wall", "scripts, CPU")):
        yield from spread(what, [[frame[number] for frame in run] for run in all_of])


def spread(what: str, runs: list[list[float]]) -> Iterator[Figure]:
    values, most = [value for run in runs for value in run], [max(run) for run in runs]
    name = f"a frame of a year, {what}"
    yield Figure(f"{name}: median of {len(values)}", statistics.median(values), "ms")
    for percent in (95, 99):
        yield Figure(f"{name}: p{percent}", share(values, percent), "ms")
    yield Figure(f"{name}: most", max(values), "ms")
    yield Figure(f"{name}: least of {len(most)} runs' most", min(most), "ms", FRAME_MS if "CPU" in what else None)
    yield Figure(f"{name}: over {FRAME_MS} ms", 100 * sum(value > FRAME_MS for value in values) / len(values), "%")


def open_pages(bench: Bench, browser: Any, _: int) -> Iterator[Figure]:
    database = bench.history("short", sample_days=1, minute_days=9, hour_days=800)
    with daemon(bench, database) as server:

        def percent() -> float:
            before, begun = cpu_ms(server.pid), time.perf_counter()
            time.sleep(SECONDS)
            return (cpu_ms(server.pid) - before) / (time.perf_counter() - begun) / 10

        time.sleep(20)
        alone = percent()
        context = browser.new_context()
        pages = [opened(context, f"http://127.0.0.1:{server.port}") for _ in range(PAGES)]
        pages[0].wait_for_timeout(10_000)
        beside = percent()
        context.close()
    yield Figure("CPU of the daemon, nobody looks", alone, "% of core")
    yield Figure(f"CPU of the daemon, {PAGES} pages are open", beside, "% of core")
    yield Figure(f"what {PAGES} open pages cost", beside - alone, "% of core", MOST_PERCENT)


def loaded(bench: Bench, browser: Any, _: int) -> Iterator[Figure]:
    database = bench.history("short", sample_days=1, minute_days=9, hour_days=800)
    with daemon(bench, database) as server:
        url = f"http://127.0.0.1:{server.port}"
        context = browser.new_context()
        sizes: dict[str, int] = {}
        context.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
        opened(context, url)
        context.close()
    files = {address: size for address, size in sizes.items() if "/static/" in address or address == f"{url}/"}
    yield Figure(f"the page before compression, {len(files)} files", sum(files.values()), "bytes", MOST_BYTES)


PARTS = {"frames": panning, "pages": open_pages, "bytes": loaded}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given again")
    given = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="tidemark-page-") as folder, sync_playwright() as driver:
        bench = Bench(Path(folder), quick=False, long=False)
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name in given.only or PARTS:
            for figure in PARTS[name](bench, browser, given.runs):
                missed += figure.verdict == "OVER"
                print(_line(figure), flush=True)
        browser.close()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
