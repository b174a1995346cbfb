"""Who used the machine over time: the stacked chart, its legend, a pinned moment, what it is compared with."""

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.browser.conftest import ZONE, Visit, Visits, ended, until
from tests.browser.test_page import address, asked_for, colours, plot, seconds, text
from tests.running import Running


def legend(page: Any) -> list[str]:
    """The names in the legend, from the ground up."""
    return [
        str(name)
        for name in page.locator("#chart-stack .legend :is(bdi, em)").evaluate_all("e => e.map(x => x.textContent)")
    ]


def opened(visit: Visit, query: str = "?range=24h") -> Any:
    page = visit.open(query)
    page.locator("#chart-stack .legend button").first.wait_for()
    return page


def test_the_chart_of_who_comes_first_and_lists_those_that_used_most(visit: Visit, daemon: Running) -> None:
    page = opened(visit)
    assert page.locator("figure").first.get_attribute("id") == "chart-stack"
    who = daemon.get("/api/v1/who?start=-24h&points=200")
    assert legend(page) == [*who["series"], "other", "unattributed"]
    until(page, lambda: len({tuple(pixel) for pixel in colours(page, "stack", 0, 1)}) >= len(who["series"]))


def test_layers_end_at_whole_pixels_because_parts_of_one_take_ten_times_as_long_to_fill(visit: Visit) -> None:
    page = opened(visit, "?range=1y")
    until(page, lambda: len(colours(page, "stack", 0.5, 0.51)) > 100)
    # What is left are the edges of flags and of words.
    assert page.evaluate(SHARE_OF_FEW_COLOURS) > 0.98


# Of the pixels of the chart, how many have one of the fourteen colours that are most.
SHARE_OF_FEW_COLOURS = """() => {
    const canvas = document.querySelector("#chart-stack canvas");
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(64, 20, 600, canvas.height - 40).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    const most = [...counts.values()].sort((a, b) => b - a).slice(0, 14);
    return most.reduce((sum, count) => sum + count, 0) / pixels.length;
}"""


def test_the_cursor_reads_the_shares_of_its_moment_with_its_time(visit: Visit) -> None:
    page = opened(visit)
    averages = page.locator("#chart-stack .legend b").all_inner_texts()
    at = plot(page, "stack")
    page.mouse.move((at["left"] + at["right"]) / 2, at["y"])
    until(page, lambda: page.locator("#chart-stack .legend b").all_inner_texts() != averages)
    assert re.fullmatch(r"\w{3} \d+ \w{3} \d\d:\d\d", text(page, "#chart-stack .cursor span"))
    page.mouse.move(5, 5)
    until(page, lambda: page.locator("#chart-stack .legend b").all_inner_texts() == averages)


def test_the_time_is_at_the_cursor_of_a_chart_far_down(visit: Visit) -> None:
    page = opened(visit)
    at = plot(page, "disk-io")
    page.mouse.move((at["left"] + at["right"]) / 2, at["y"])
    time = page.locator("#chart-disk-io .cursor span")
    time.wait_for()
    box = time.bounding_box()
    assert 0 <= box["y"] <= page.viewport_size["height"] - box["height"]
    assert re.search(r"\d\d:\d\d", time.inner_text())


def test_the_legend_shows_one_alone_and_all_again(visit: Visit) -> None:
    page = opened(visit)
    second = (
        page.locator("#chart-stack .legend i")
        .nth(1)
        .evaluate("e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)")
    )
    until(page, lambda: second in colours(page, "stack", 0.2, 0.8))
    chip = page.locator("#chart-stack .legend button").first
    chip.click()
    assert chip.get_attribute("aria-pressed") == "true"
    until(page, lambda: second not in colours(page, "stack", 0.2, 0.8))
    chip.click()
    until(page, lambda: second in colours(page, "stack", 0.2, 0.8))


def test_by_service_and_of_memory(visit: Visit) -> None:
    page = opened(visit)
    page.locator("#chart-stack button", has_text="By service").click()
    until(page, lambda: asked_for(visit, "who")[-1]["by"] == ["service"])
    page.locator("#chart-stack button", has_text="Memory").click()
    until(page, lambda: asked_for(visit, "who")[-1]["metric"] == ["memory"])
    until(page, lambda: text(page, "#chart-stack h2") == "Who used the memory")
    assert re.search(r"[MG]B", text(page, "#chart-stack .legend"))


def test_a_click_pins_a_moment_with_who_a_week_ago_and_the_sql(visit: Visit) -> None:
    page = opened(visit)
    at = plot(page, "stack")
    page.mouse.click(at["left"] + 300, at["y"])
    page.locator("#who.moment tbody tr").first.wait_for()
    now, then = asked_for(visit, "processes")[-2:]
    assert float(now["start"][0]) - float(then["start"][0]) == 7 * 86400
    assert "A week ago" in text(page, "#who thead")
    assert re.search(r"% a week ago|nothing recorded a week ago", text(page, "#who"))
    assert page.locator(".pin:visible").count() > 1
    page.locator("#who summary").click()
    assert "SELECT" in text(page, "#who pre")
    page.keyboard.press("Escape")
    until(page, lambda: page.locator(".pin:visible").count() == 0)


def test_bars_stand_beside_their_digits(visit: Visit) -> None:
    page = opened(visit)
    page.locator("#who tbody tr").first.wait_for()
    for cell in page.locator("#who td.shared").all():
        bar, digits = (cell.locator(part).bounding_box() for part in (".track", "span:last-child"))
        assert bar["x"] + bar["width"] <= digits["x"] + 0.5


def test_a_name_has_the_count_of_its_processes_and_not_of_the_ids_that_are_listed(visit: Visit) -> None:
    share = {"name": "python", "pids": list(range(20)), "process_count": 99, "cpu_percent": 9.0,
             "children_cpu_percent": 0.0, "cpu_seconds": 1.0, "memory_bytes": 1}  # fmt: skip
    body = json.dumps({"start": "2026-01-05T10:00:00Z", "end": "2026-01-05T11:00:00Z", "by": "name", "sql": "SELECT 1",
                       "covered_seconds": 60.0, "cpu_percent": 10.0, "unattributed_cpu_percent": 1.0,
                       "processes": [share, {**share, "name": "old", "process_count": None}]})  # fmt: skip
    visit.page.route("**/api/v1/processes?*", lambda route: route.fulfill(content_type="application/json", body=body))
    page = opened(visit)
    page.locator("#who tbody tr").first.wait_for()
    assert page.locator("#who tbody small").all_inner_texts() == ["× 99", ""]


def test_a_view_is_compared_with_last_week_and_the_address_says_so(visit: Visit, visits: Visits) -> None:
    page = opened(visit)
    page.locator("#compare").select_option("last week")
    until(page, lambda: address(page).get("compare") == "last week")
    until(page, lambda: any(each["start"][0].isdigit() for each in asked_for(visit, "who")))
    [then] = [each for each in asked_for(visit, "who") if each["start"][0].isdigit()]
    assert time.time() - float(then["end"][0]) == pytest.approx(7 * 86400, abs=60)
    assert any(each["start"] == then["start"] for each in asked_for(visit, "series"))
    other = visits()
    assert opened(other, page.evaluate("location.search")).locator("#compare").input_value() == "last week"
    page.locator("#compare").select_option("none")
    until(page, lambda: "compare" not in address(page))


def test_going_to_a_time_shows_it_in_the_middle_and_who_used_the_machine_then(visit: Visit) -> None:
    page = opened(visit)
    page.locator("#goal").fill("yesterday 03:12")
    page.keyboard.press("Enter")
    page.locator("#who.moment tbody tr").first.wait_for()
    start, end = (seconds(address(page)[edge]) for edge in ("start", "end"))
    local = page.evaluate("ts => new Date(ts * 1000).toString().slice(16, 21)", (start + end) / 2)
    assert local == "03:12"
    page.locator("#goal").fill("soon")
    page.keyboard.press("Enter")
    until(page, lambda: text(page, "#astray").startswith("Like 03:12"))


def test_who_is_in_sight_also_after_a_click_far_below(visit: Visit) -> None:
    page = opened(visit)
    at = plot(page, "disk-io")
    page.mouse.click(at["left"] + 200, at["y"])
    page.locator("#who.moment tbody tr").first.wait_for()
    box = page.locator("#who").bounding_box()
    assert 0 < box["y"] < page.viewport_size["height"] - 100


# A quarter of an hour in which a backup took most of the machine: longer than what one pixel of the day shows.
NIGHT_PROCESS = """
INSERT OR REPLACE INTO process
SELECT ts, stretch_id, 4242, (SELECT name_id FROM process_name WHERE name = 'restic'), capacity_ms * 8 / 10,
    90000, 1, 0, (SELECT service_id FROM service WHERE name = 'ssh.service')
FROM capture WHERE ts BETWEEN :start AND :start + 900"""
NIGHT_SERVICE = """
INSERT OR REPLACE INTO service_usage (ts, stretch_id, service_id, cpu_ms, memory_kb)
SELECT ts, stretch_id, (SELECT service_id FROM service WHERE name = 'ssh.service'), capacity_ms * 8 / 10, 90000
FROM capture WHERE ts BETWEEN :start AND :start + 900"""
NIGHT_BUSY = "UPDATE capture SET busy_ms = capacity_ms * 95 / 100 WHERE ts BETWEEN :start AND :start + 900"


@pytest.fixture(scope="module")
def after_a_night(year: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, int]]:
    """A daemon over a history in which something was slow, and when."""
    folder = tmp_path_factory.mktemp("night")
    night = int(time.time()) // 60 * 60 - 6 * 3600
    with closing(sqlite3.connect(shutil.copy(year, folder / "tidemark.db"))) as connection, connection:
        for statement in (NIGHT_PROCESS, NIGHT_SERVICE, NIGHT_BUSY):
            assert connection.execute(statement, {"start": night}).rowcount > 0
    daemon = Running(folder / "tidemark.db", folder / "stderr")
    yield daemon, night
    ended(daemon)


@pytest.mark.parametrize(("by", "name"), [("name", "restic"), ("service", "ssh.service")])
def test_whoever_asks_what_was_slow_is_led_to_who_did_it(
    visits: Visits, after_a_night: tuple[Running, int], by: str, name: str
) -> None:
    daemon, night = after_a_night
    page = opened(visits(daemon.url))
    page.locator("#chart-stack button", has_text=f"By {by}").click()
    page.locator("#goal").fill(f"{datetime.fromtimestamp(night + 450, ZoneInfo(ZONE)):%Y-%m-%d %H:%M}")
    page.keyboard.press("Enter")
    until(page, lambda: page.locator("#who.moment tbody tr").first.inner_text().startswith(name))
    # The query beside it says the same to whoever runs it.
    page.locator("#who summary").click()
    page.locator("#who button", has_text="run it").click()
    page.locator("#run").click()
    until(page, lambda: page.locator("#rows tbody td").all_inner_texts()[:1] == [name])
