"""The page in a browser: what is shown, mouse, keys, and what arrives by itself."""

import itertools
import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.metrics import DETAILS, HEADLINES
from tests.browser.conftest import Visit, Visits, ended, until
from tests.running import Running, query

STATIC = Path(__file__).parent.parent.parent / "service" / "web" / "static"
# As the page names them: by the titles in the list of metrics.
CHARTS = tuple(dict.fromkeys(re.sub("[^a-z0-9]+", "-", metric.chart.lower().replace("/", "")) for metric in HEADLINES))
TILES = CHARTS[:6]


def address(page: Any) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(page.evaluate("location.href")).query).items()}


def text(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text())


def seconds(time_: str) -> float:
    return datetime.fromisoformat(time_).timestamp()


def plot(page: Any, chart: str = "cpu") -> dict[str, float]:
    """Where the lines of a chart may be, in pixels of the window."""
    page.locator(f"#chart-{chart} .plot").scroll_into_view_if_needed()
    box = page.locator(f"#chart-{chart} canvas").bounding_box()
    return {"left": box["x"] + 62, "right": box["x"] + box["width"] - 6, "y": box["y"] + box["height"] / 2}


def drag(page: Any, start: float, end: float, chart: str = "cpu") -> None:
    """From one share of the chart's width to another."""
    at = plot(page, chart)
    wide = at["right"] - at["left"]
    page.mouse.move(at["left"] + start * wide, at["y"])
    page.mouse.down()
    page.mouse.move(at["left"] + (start + end) / 2 * wide, at["y"])
    page.mouse.move(at["left"] + end * wide, at["y"])
    page.mouse.up()


def asked_for(visit: Visit, name: str) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(url).query) for url in visit.asked if urlsplit(url).path.endswith(f"/{name}")]


def colours(page: Any, chart: str, left: float, right: float) -> list[list[int]]:
    """Of the pixels of a canvas between two shares of its plot's width, those that are drawn at all."""
    code = """([id, left, right]) => {
        const canvas = document.querySelector(`#chart-${id} canvas`);
        const [ratio, wide] = [devicePixelRatio, canvas.clientWidth - 68];
        const from = Math.round((62 + left * wide) * ratio);
        const {data} = canvas.getContext("2d").getImageData(from, 20 * ratio,
            Math.max(1, Math.round((right - left) * wide * ratio)), canvas.height - 40 * ratio);
        const found = [];
        for (let n = 0; n < data.length; n += 4) if (data[n + 3] > 200) found.push([...data.slice(n, n + 3)]);
        return found;
    }"""
    return list(page.evaluate(code, [chart, left, right]))


# -- what is there


def test_the_whole_page_is_smaller_than_150_kb() -> None:
    files = [file for file in STATIC.iterdir() if not file.name.startswith("docs")]
    assert sum(file.stat().st_size for file in files) < 150_000


def test_what_the_page_asks_of_itself_is_smaller_than_150_kb(visit: Visit) -> None:
    sizes: dict[str, int] = {}
    visit.page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    visit.open()
    files = {url: size for url, size in sizes.items() if "/static/" in url or url == f"{visit.url}/"}
    assert len(files) > 10
    assert sum(files.values()) < 150_000


def test_nothing_is_inline_and_nothing_is_from_elsewhere() -> None:
    for file in STATIC.glob("*.html"):
        html = file.read_text()
        assert re.findall(r"<style|<script(?! src=)|\sstyle=|\son\w+=|javascript:|//[a-z]", html) == []
    for file in STATIC.glob("*.js"):
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", file.read_text()) == []


def test_tiles_show_the_present_with_trend_and_curve(visit: Visit, daemon: Running) -> None:
    page = visit.open()
    page.locator("#now path[d]").first.wait_for(state="attached")
    for tile in TILES:
        until(page, lambda tile=tile: re.search(r"\d", text(page, f"#now-{tile} strong")) is not None)
        assert re.search(r"stable|increasing|decreasing|unknown", text(page, f"#now-{tile} em"))
        assert len(page.locator(f"#now-{tile} path").get_attribute("d")) > 100
    health = daemon.get("/healthz")["status"]
    until(page, lambda: text(page, "#status").strip().startswith(f"{health} · newest sample "))


def test_every_metric_has_a_line_in_a_chart(visit: Visit) -> None:
    page = visit.open("?range=24h")
    for chart in CHARTS:
        plot(page, chart)
        until(page, lambda chart=chart: len(colours(page, chart, 0.1, 0.8)) > 100)
        assert "average" in page.locator(f"#chart-{chart} canvas").get_attribute("aria-label")


def test_details_are_asked_for_and_drawn_once_they_are_opened(visit: Visit) -> None:
    page = visit.open("?range=24h")
    assert page.locator("#more figure").count() == 0
    page.locator("#details summary").first.click()
    titles = list(dict.fromkeys(metric.chart for metric in DETAILS))
    page.locator("#chart-cpu-modes canvas[aria-label*='User: average']").wait_for()
    assert page.locator("#more h2").all_inner_texts() == titles
    until(page, lambda: len(colours(page, "memory-in-bytes", 0.1, 0.8)) > 100)
    assert {len(each["metric"]) for each in asked_for(visit, "series")} >= {
        len(HEADLINES),
        len(HEADLINES) + len(DETAILS),
    }


def test_charts_tiles_and_requests_follow_the_list_of_metrics(visit: Visit) -> None:
    listed = [
        {
            "name": "io_pressure",
            "label": "First",
            "unit": "percent",
            "kind": "gauge",
            "help": "",
            "is_headline": True,
            "chart": "New one",
        },
        {
            "name": "load_1",
            "label": "Load",
            "unit": "processes",
            "kind": "gauge",
            "help": "",
            "is_headline": True,
            "chart": "Load",
        },
        {
            "name": "load_5",
            "label": "Load, slow",
            "unit": "processes",
            "kind": "gauge",
            "help": "",
            "is_headline": True,
            "chart": "Load",
        },
    ]
    body = json.dumps({"metrics": listed})
    visit.page.route("**/api/v1/metrics", lambda route: route.fulfill(content_type="application/json", body=body))
    page = visit.page
    page.goto(f"{visit.url}/?range=24h")
    page.locator("#chart-load canvas[aria-label*='Load: average']").wait_for()
    assert page.locator("#lines h2").all_inner_texts() == ["New one", "Load"]
    assert page.locator("#now a span").all_inner_texts() == ["New one", "Load"]
    assert re.findall("[A-Za-z]+", text(page, "#chart-load .legend")) == ["Load", "slow"]
    # The calendar, which is near where the charts are few, has metrics of its own.
    asked = [each for each in asked_for(visit, "series") if each["points"] != ["4400"]]
    assert {tuple(each["metric"]) for each in asked} == {("io_pressure", "load_1", "load_5")}


def test_the_list_of_metrics_is_asked_for_once_while_the_scripts_load(visit: Visit) -> None:
    visit.open()
    assert len(asked_for(visit, "metrics")) == 1
    metrics, module = (
        next(n for n, url in enumerate(visit.asked) if part in url) for part in ("/metrics", "/format.js")
    )
    assert metrics < module


def test_a_list_of_metrics_that_did_not_come_is_asked_for_again(visits: Visits) -> None:
    visit = visits(troubled=True)
    refused: list[str] = []

    def refuse_at_first(route: Any) -> None:
        refused.append(route.request.url)
        route.abort() if len(refused) < 3 else route.continue_()

    visit.page.route("**/api/v1/metrics", refuse_at_first)
    assert len(visit.open("?range=24h").locator("#lines figure").all()) == len(CHARTS)


@pytest.mark.parametrize("range_", ["1h", "6h", "24h", "7d", "30d", "1y"])
def test_each_range_is_one_request_of_all_metrics(visit: Visit, range_: str) -> None:
    page = visit.open(f"?range={range_}")
    assert page.locator("#ranges [aria-pressed=true]").inner_text() == range_
    asked = [
        each
        for each in asked_for(visit, "series")
        if each["start"] == [f"-{range_}"] and len(each["metric"]) == len(HEADLINES)
    ]
    assert [each for each in asked if int(each["points"][0]) <= 600]


def test_times_are_in_the_zone_of_the_browser_which_is_shown(visits: Visits, daemon: Running) -> None:
    page = visits(timezone_id="Australia/Darwin").open("?start=2026-01-05T10:00:00Z&end=2026-01-05T12:00:00Z")
    assert text(page, "#zone") == "Australia/Darwin (GMT+0930)"
    assert "19:30 – 21:30" in text(page, "#shown")


def test_the_table_behind_a_chart_shows_what_the_api_answers(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=24h")
    page.locator("#chart-load summary").click()
    rows = page.locator("#chart-load tbody tr")
    assert page.locator("#chart-load thead th").all_inner_texts()[:3] == ["Time", "1 min average", "1 min minimum"]
    series = daemon.get("/api/v1/series?metric=load_1&start=-24h&points=600")
    assert abs(rows.count() - len(series["ts"])) <= 1
    known = series["series"]["load_1"]["average"]
    assert f"{known[100]:g}" in rows.nth(100).inner_text() + rows.nth(99).inner_text()


# -- views


def test_a_drag_zooms_the_address_names_the_view_and_a_double_click_goes_back(visit: Visit, visits: Visits) -> None:
    page = visit.open("?range=24h")
    drag(page, 0.25, 0.5)
    until(page, lambda: "start" in address(page))
    view = {name: seconds(value) for name, value in address(page).items()}
    assert view["end"] - view["start"] == pytest.approx(6 * 3600, rel=0.05)
    assert time.time() - view["end"] == pytest.approx(12 * 3600, rel=0.05)
    until(page, lambda: page.locator("#ranges [aria-pressed=true]").count() == 0)
    shown = text(page, "#shown")
    page_of_a_colleague = visits().open(page.evaluate("location.search"))
    assert text(page_of_a_colleague, "#shown") == shown
    at = plot(page)
    page.mouse.dblclick(at["left"] + 100, at["y"])
    until(page, lambda: address(page) == {"range": "24h"})
    assert text(page, "#ranges [aria-pressed=true]") == "24h"


def test_the_browsers_own_back_and_forward_go_through_the_views(visit: Visit) -> None:
    page = visit.open("?range=24h")
    page.locator("#ranges button", has_text="7d").click()
    page.go_back()
    until(page, lambda: text(page, "#ranges [aria-pressed=true]") == "24h")
    page.go_forward()
    until(page, lambda: text(page, "#ranges [aria-pressed=true]") == "7d")


@pytest.mark.parametrize(
    "odd", ["?range=2h", "?start=x&end=y", "?start=2026-01-02T00:00Z&end=2026-01-01T00:00Z", "?%00"]
)
def test_an_address_without_a_view_shows_the_usual_one(visit: Visit, odd: str) -> None:
    assert text(visit.open(odd), "#ranges [aria-pressed=true]") == "24h"


def test_a_year_moves_from_memory_and_is_asked_for_where_it_rests(visit: Visit) -> None:
    page = visit.open("?range=1y")
    at = plot(page)
    page.mouse.move(at["left"] + 100, at["y"])
    page.wait_for_timeout(300)
    before = len(visit.asked)
    # All turns of the wheel within one task of the page: on a busy machine each could come after the page has rested.
    page.evaluate(
        """([x, y]) => {
            const turn = { deltaX: -20, clientX: x, clientY: y, bubbles: true, cancelable: true };
            const under = document.elementFromPoint(x, y);
            for (let i = 0; i < 10; i++) under.dispatchEvent(new WheelEvent("wheel", turn));
        }""",
        [at["left"] + 100, at["y"]],
    )
    until(page, lambda: "start" in address(page))
    page.locator("#chart-cpu canvas[aria-label*='average']").wait_for()
    until(page, lambda: len([url for url in visit.asked[before:] if "gaps" in url]) >= 1)
    starts = [url for url in visit.asked[before:] if "/series" in url and "points=600" in url]
    # Around the view as it moves, and once where it rests.
    assert 1 <= len(starts) <= 3, starts


def test_one_cursor_goes_through_all_charts(visit: Visit) -> None:
    page = visit.open("?range=24h")
    at = plot(page)
    page.mouse.move(at["left"] + (at["right"] - at["left"]) / 2, at["y"])
    until(page, lambda: page.locator(".cursor:visible").count() == len(CHARTS) + 1)
    places = page.locator("#lines .cursor").evaluate_all("each => each.map(one => one.style.transform)")
    assert len(set(places)) == 1
    assert re.fullmatch(r"\w{3} \d+ \w{3} \d\d:\d\d", text(page, "#readout"))
    values = text(page, "#chart-processes .legend")
    assert re.search(r"Processes\s*[\d.]+ \([\d.]+ to [\d.]+\)", values)
    page.mouse.move(5, 5)
    until(page, lambda: page.locator(".cursor:visible").count() == 0)


def longest_gap(daemon: Running) -> tuple[int, int, str]:
    rows = query(daemon.path, "SELECT start_ts, end_ts, reason FROM gaps ORDER BY end_ts - start_ts DESC LIMIT 1")
    start, end, reason = rows[0]
    return start, end, reason


def view_around(start: int, end: int) -> str:
    edges = [datetime.fromtimestamp(ts).astimezone().isoformat() for ts in (2 * start - end, 2 * end - start)]
    return "?start={}&end={}".format(*(edge.replace("+", "%2B") for edge in edges))


def test_a_gap_is_a_gap_with_its_reason_and_no_line_goes_through_it(visit: Visit, daemon: Running) -> None:
    start, end, reason = longest_gap(daemon)
    page = visit.open(view_around(start, end))
    until(page, lambda: reason in text(page, "#gaps"))
    line = page.evaluate(
        "() => { const i = document.querySelector('#chart-cpu .line1'); "
        "return getComputedStyle(i).backgroundColor.match(/\\d+/g).map(Number) }"
    )
    until(page, lambda: len(colours(page, "cpu", 0.4, 0.6)) > 100)
    assert line not in colours(page, "cpu", 0.36, 0.64)
    assert line in colours(page, "cpu", 0.05, 0.3)
    at = plot(page)
    page.mouse.move((at["left"] + at["right"]) / 2, at["y"])
    until(page, lambda: f"nothing recorded ({reason}, " in text(page, "#readout"))
    page.mouse.click((at["left"] + at["right"]) / 2, at["y"])
    until(page, lambda: f"Nothing was recorded: {reason}" in text(page, "#who"))


# -- who


def test_a_click_on_a_moment_shows_who_used_the_machine_then(visit: Visit) -> None:
    page = visit.open("?range=24h")
    at = plot(page)
    shown, places = page.locator("#who.moment tbody tr"), itertools.count(200, 60)

    def is_shown() -> bool:
        """Where nothing was recorded at a moment, at another one: gaps lie elsewhere each time."""
        page.mouse.click(at["left"] + next(places), at["y"])
        for _ in range(50):
            if shown.count():
                break
            page.wait_for_timeout(100)
        return shown.count() > 0

    until(page, is_shown, 60)
    asked = asked_for(visit, "processes")[-2]
    assert float(asked["end"][0]) - float(asked["start"][0]) >= 60
    assert text(page, "#who tbody tr:last-child th") == "unattributed"
    page.locator("#chart-stack button", has_text="By service").click()
    until(page, lambda: asked_for(visit, "processes")[-1]["by"] == ["service"])
    page.locator("#who button", has_text="Memory").click()
    until(page, lambda: asked_for(visit, "processes")[-1]["sort"] == ["memory"])
    page.locator("#who button", has_text="Close").click()
    page.locator("#who:not(.moment)").wait_for()


def press_first_peak(page: Any) -> None:
    """Until it shows who used the machine then: of a half hour that has just begun that is known after a capture."""
    rows = page.locator("#who.moment tbody tr")

    def is_shown() -> bool:
        page.locator("#chart-cpu .peaks button").first.click()
        for _ in range(50):
            if rows.count():
                break
            page.wait_for_timeout(100)
        return rows.count() > 0

    until(page, is_shown, 120)


def test_a_peak_is_marked_and_shows_its_processes(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=24h")
    button = page.locator("#chart-cpu .peaks button").first
    button.wait_for()
    peak = daemon.get("/api/v1/peaks?metric=cpu_percent&window=24h")["peaks"][0]
    assert button.inner_text().endswith(f"{peak['maximum']:.1f} %".replace("100.0", "100"))
    mark = page.evaluate(
        "() => { const p = document.createElement('p'); p.style.color = 'var(--bad)'; "
        "document.body.append(p); const c = getComputedStyle(p).color.match(/\\d+/g).map(Number); "
        "p.remove(); return c }"
    )
    assert mark in colours(page, "cpu", 0, 1) or mark in page.evaluate(TOP_OF_CPU)
    press_first_peak(page)
    assert "CPU peak" in text(page, "#who")
    asked = asked_for(visit, "processes")[-2]
    assert float(asked["start"][0]) == seconds(peak["start"])
    # One of just now goes on meanwhile.
    is_now = seconds(peak["end"]) % 1800 != 0
    assert float(asked["end"][0]) == pytest.approx(seconds(peak["end"]), abs=150 if is_now else 0)


def test_from_a_peak_to_who_and_to_the_sql_that_gives_the_same_shares(visits: Visits, daemon: Running) -> None:
    visit = visits(permissions=["clipboard-read", "clipboard-write"])
    page = visit.open("?range=24h")
    press_first_peak(page)
    page.locator("#who summary").click()
    page.locator("#who button", has_text="Copy the SQL").click()
    page.locator("#who button", has_text="Copied").wait_for()
    sql = page.evaluate("navigator.clipboard.readText()")
    rows = query(daemon.path, sql)
    # Of what the page asked for: a peak of just now moves on.
    asked = asked_for(visit, "processes")[-2]
    answer = daemon.get(f"/api/v1/processes?start={asked['start'][0]}&end={asked['end'][0]}")
    shares = {each["name"]: each["cpu_percent"] for each in answer["processes"]}
    assert shares
    assert {name: pytest.approx(share, abs=0.01) for name, share in rows if name in shares} == shares
    assert rows[0][0] == answer["processes"][0]["name"]
    assert sql == answer["sql"]  # which the command line prints too


TOP_OF_CPU = """() => {
    const canvas = document.querySelector("#chart-cpu canvas");
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, 24);
    const found = [];
    for (let n = 0; n < data.length; n += 4) if (data[n + 3] > 200) found.push([...data.slice(n, n + 3)]);
    return found;
}"""

JSON = {"content_type": "application/json"}
HOSTILE = ("<img src=x onerror=alert(1)>", "</td><script>alert(2)</script>", "\u202egnp.exe", "a\x1b[31m\nb", "x" * 300)


def test_hostile_names_are_text(visit: Visit) -> None:
    process = {"pids": [1], "cpu_percent": 5.0, "cpu_seconds": 1.0, "memory_bytes": 1000}
    who = {
        **{"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:01:00Z", "covered_seconds": 60, "cpu_percent": 50.0},
        **{"unattributed_cpu_percent": 1.0, "processes": [{"name": name, **process} for name in HOSTILE]},
        "sql": HOSTILE[1],
    }
    insight = {
        **{"code": HOSTILE[1], "severity": "warning", "title": HOSTILE[0], "detail": HOSTILE[1]},
        **{"evidence": {HOSTILE[0]: 1}, "sql": HOSTILE[1]},
    }
    answers = {"processes": who, "insights": {"insights": [insight], "later": []}}
    for name, answer in answers.items():
        body = json.dumps(answer)
        visit.page.route(f"**/api/v1/{name}*", lambda route, _, body=body: route.fulfill(**{**JSON, "body": body}))
    page = visit.open()
    page.locator("#insights li").wait_for()
    shown = [*HOSTILE[:2], "\\x202egnp.exe", "a\\x1b[31m\\x0ab", HOSTILE[4]]
    assert page.locator("#who bdi").evaluate_all("each => each.map(one => one.textContent)") == shown
    titles = page.locator("#who th[title]").evaluate_all("each => each.map(one => one.title)")
    assert all(title.replace("\n", "").isprintable() for title in titles), titles
    assert page.locator("main img, main script").count() == 0
    assert text(page, "#insights summary").endswith(HOSTILE[0])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_insight_folds_its_evidence_and_its_sql(visits: Visits) -> None:
    visit = visits(permissions=["clipboard-read", "clipboard-write"])
    sql = "SELECT time, disk_percent\nFROM hours"
    evidence = {"days": 6, "used_percent": 96.83333333333333, "longest_seconds": 5400, "growth_bytes_per_day": 12**9}
    insight = {"code": "a", "severity": "critical", "title": "Disk", "detail": "It fills.", "evidence": evidence}
    body = json.dumps({"insights": [{**insight, "sql": sql}], "later": []})
    visit.page.route("**/api/v1/insights", lambda route: route.fulfill(content_type="application/json", body=body))
    page = visit.open()
    page.locator("#insights li.critical summary").click()
    shown = page.locator("#insights dl div").evaluate_all(
        "each => each.map(one => [...one.children].map(e => e.textContent))"
    )
    assert shown == [["days", "6"], ["used", "96.8 %"], ["longest", "1 h 30 min"], ["growth", "5.16 GB/day"]]
    page.locator("#insights button", has_text="Copy the SQL").click()
    page.locator("#insights button", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == sql


# -- keys


def test_keys_alone_do_what_the_mouse_does(visit: Visit) -> None:
    page = visit.open("?range=24h")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "charts":
            break
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    until(page, lambda: page.locator(".cursor:visible").count() == len(CHARTS) + 1)
    before = text(page, "#readout")
    page.keyboard.press("ArrowLeft")
    assert text(page, "#readout") != before
    page.keyboard.press("Enter")
    page.locator("#who.moment tbody tr").first.wait_for()
    until(page, lambda: page.evaluate("document.activeElement.id") == "who")
    page.keyboard.press("Escape")
    page.locator("#who:not(.moment)").wait_for()
    page.keyboard.press("+")
    until(page, lambda: "start" in address(page))
    zoomed = address(page)
    assert seconds(zoomed["end"]) - seconds(zoomed["start"]) == pytest.approx(12 * 3600, rel=0.01)
    page.keyboard.press("Shift+ArrowLeft")
    until(page, lambda: address(page) != zoomed)
    moved = address(page)
    assert seconds(zoomed["start"]) - seconds(moved["start"]) == pytest.approx(3 * 3600, rel=0.01)
    page.keyboard.press("Escape")
    until(page, lambda: address(page) == {"range": "24h"})


# -- light, dark, narrow, and for everyone


def ground(page: Any) -> int:
    return int(page.evaluate("() => Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0])"))


def test_light_and_dark_follow_the_system_until_one_is_chosen(visits: Visits) -> None:
    page = visits(color_scheme="dark").open()
    assert ground(page) < 50
    page.emulate_media(color_scheme="light")
    assert ground(page) > 200
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert (text(page, "#theme"), ground(page) < 50) == ("Theme: dark", True)
    page.reload()
    assert (text(page, "#theme"), ground(page) < 50) == ("Theme: dark", True)


@pytest.mark.parametrize("width", [360, 600, 768, 1024, 1280, 1920, 2560])
def test_nothing_sticks_out_sideways(visits: Visits, width: int) -> None:
    page = visits(viewport={"width": width, "height": 780}).open("?range=7d")
    page.locator("#now path[d]").first.wait_for(state="attached")
    fits = (
        "word => { document.querySelectorAll('#now em').forEach(e => e.textContent = word); "
        "return [...document.querySelectorAll('figure, #now a')].every(e => e.scrollWidth <= e.clientWidth) }"
    )
    # Which word stands there is the host's: the longest must fit too.
    for word in ("→ stable", "↗ increasing", "↘ decreasing", "trend unknown"):
        assert page.evaluate(fits, word), word
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 768, 1024])
def test_on_touch_screens_targets_are_40_pixels_high_and_none_stands_alone(visits: Visits, width: int) -> None:
    page = visits(viewport={"width": width, "height": 800}, has_touch=True, is_mobile=True).open("?range=24h")
    page.locator("#chart-stack .legend button").first.wait_for()
    page.locator("#insights summary").first.wait_for()
    low = page.evaluate(
        "[...document.querySelectorAll('button, summary, input, select')].filter(e => e.checkVisibility()"
        " && !e.closest('.days') && e.getBoundingClientRect().height < 39.5).map(e => e.outerHTML)"
    )
    assert low == []
    compare, goal = (page.locator(f"#{name}").bounding_box() for name in ("compare", "goal"))
    assert compare["y"] == pytest.approx(goal["y"], abs=1)


def test_a_tile_leads_to_its_chart_whose_title_is_in_sight(visits: Visits) -> None:
    page = visits(viewport={"width": 1280, "height": 500}).open("?range=24h")
    page.locator("#now-load").click()
    page.wait_for_timeout(300)
    header = page.locator("body > header").bounding_box()
    assert page.locator("#chart-load h2").bounding_box()["y"] >= header["y"] + header["height"]


def test_where_nothing_happened_the_page_says_so(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.url}/?start=2020-01-05T10:00:00Z&end=2020-01-05T12:00:00Z")
    until(page, lambda: (text(page, "#gaps"), text(page, "#events")) == ("No gaps.", "No events."))


@pytest.mark.parametrize("width", [360, 1280])
def test_an_open_table_scrolls_in_a_box_of_its_own(visits: Visits, width: int) -> None:
    page = visits(viewport={"width": width, "height": 780}).open("?range=24h")
    page.locator("#chart-load summary").click()
    page.locator("#chart-load td").first.wait_for()
    sizes = "e => [e.scrollWidth, e.clientWidth, e.getBoundingClientRect().width]"
    wide, shown, whole = page.locator("#chart-load").evaluate(sizes)
    assert wide <= shown
    assert page.locator("#chart-load .plot").evaluate(sizes)[2] < whole
    # A wide screen gives it a row of its own, and so no chart beside it has a hole below.
    scrolls = page.locator("#chart-load .scroll").evaluate("e => e.scrollWidth > e.clientWidth")
    assert scrolls if width == 360 else whole > width * 0.9


def violations(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python", reason="needs the package axe-playwright-python")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [f"{each['id']}: {node['html'][:150]} {node['failureSummary']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_accessibility_check_finds_nothing(visits: Visits, scheme: str) -> None:
    page = visits(color_scheme=scheme).open("?range=24h")
    page.locator("#chart-cpu summary").click()
    page.locator("#help summary, #insights summary").first.click()
    at = plot(page, "memory")
    page.mouse.click(at["left"] + 200, at["y"])
    page.locator("#who.moment tbody tr").first.wait_for()
    assert violations(page) == []


def open_insight(page: Any) -> None:
    page.locator("#insights summary").first.click()


def open_devices(page: Any) -> None:
    page.locator("#devices summary").first.click()
    page.locator("#chart-sensor-celsius canvas[aria-label*='average']").wait_for()


def open_details(page: Any) -> None:
    page.locator("#details summary").first.click()
    page.locator("#chart-cpu-modes canvas[aria-label*='User: average']").wait_for()


def run_sql(page: Any) -> None:
    page.locator("#to-sql").click()
    page.locator("#run").click()
    page.locator("#rows tbody tr").first.wait_for()


def compare(page: Any) -> None:
    page.locator("#compare").select_option("last week")
    page.wait_for_timeout(500)


def go_astray(page: Any) -> None:
    page.locator("#goal").fill("soon")
    page.keyboard.press("Enter")
    page.locator("#astray:not(:empty)").wait_for()


def pin_a_service(page: Any) -> None:
    page.locator("#chart-stack button", has_text="By service").click()
    at = plot(page, "stack")
    page.mouse.click(at["left"] + 200, at["y"])
    page.locator("#who.moment tbody tr").first.wait_for()
    page.locator("#who summary").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_accessibility_check_finds_nothing_in_any_state(visits: Visits, scheme: str, width: int) -> None:
    page = visits(color_scheme=scheme, viewport={"width": width, "height": 900}).open("?range=24h")
    page.locator("#insights summary").first.wait_for()
    found = {}
    for state in (
        open_insight,
        compare,
        go_astray,
        open_devices,
        open_details,
        run_sql,
        press_first_peak,
        pin_a_service,
    ):
        state(page)
        found[state.__name__] = violations(page)
    assert {state: each for state, each in found.items() if each} == {}


def test_the_page_of_the_api_shows_each_path_with_an_example(visits: Visits, daemon: Running) -> None:
    page = visits().page
    page.goto(f"{daemon.url}/api/docs")
    page.locator("section").first.wait_for()
    paths = daemon.get("/api/v1/openapi.json")["paths"]
    assert page.locator("h2").all_inner_texts() == [f"GET {path}" for path in paths]
    page.locator("summary").first.click()
    assert page.locator("pre").first.inner_text().startswith("{")


# -- what arrives by itself


def test_the_newest_sample_arrives_by_itself_and_is_drawn(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=1h")
    loads = len([each for each in asked_for(visit, "series") if each["start"] == ["-1h"] and each["points"] == ["600"]])
    seen = text(page, "#status")
    daemon.wait_for_samples(3)
    until(page, lambda: text(page, "#status") != seen)
    table = page.locator("#chart-cpu details")
    table.locator("summary").click()
    rows = table.locator("tbody tr")
    until(page, lambda: "–" not in rows.nth(rows.count() - 2).inner_text().split()[4])
    again = [each for each in asked_for(visit, "series") if each["start"] == ["-1h"] and each["points"] == ["600"]]
    assert len(again) == loads == 1


def test_a_hidden_page_asks_nothing_and_a_shown_one_at_once(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=1h")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.wait_for_timeout(1500)
    before = len(visit.asked)
    daemon.wait_for_samples(3)
    page.wait_for_timeout(100)
    assert len(visit.asked) == before
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false}); "
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    until(page, lambda: len(visit.asked) > before)


def test_as_samples_arrive_the_page_grows_by_no_element(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=1h")
    page.locator("#now path[d]").first.wait_for(state="attached")
    devtools = visit.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def held() -> list[float]:
        devtools.send("HeapProfiler.collectGarbage")
        found = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
        return [found["JSEventListeners"], page.evaluate("document.querySelectorAll('*').length")]

    page.locator("#who tbody tr").first.wait_for()
    page.wait_for_timeout(1500)
    before, seen = held(), text(page, "#status")
    daemon.wait_for_samples(5)
    until(page, lambda: text(page, "#status") != seen)
    assert held() == before


def test_a_dead_daemon_shows_as_such_and_a_new_one_is_taken_up(
    visits: Visits, tmp_path: Path, new_database: Path
) -> None:
    first = Running(tmp_path / "data" / "tidemark.db", tmp_path / "stderr")
    port = str(urlsplit(first.url).port)
    visit = visits(first.url, troubled=True)
    try:
        first.wait_for_samples(2)
        page = visit.open()
        assert page.locator("#banner").is_hidden()
        assert text(page, "#ranges [aria-pressed=true]") == "1h"
        assert text(page, "#shown").endswith(", live")
        ended(first)
        until(page, lambda: "Tidemark has not answered since" in text(page, "#banner"))
        assert "the page shows the state at" in text(page, "#banner")
        assert "no answer" in text(page, "#status")
        assert "live" not in text(page, "#shown")
        assert page.locator("body.stale").count() == 1
    finally:
        ended(first)
    second = Running(first.path, tmp_path / "stderr", "--port", port)
    try:
        until(page, lambda: page.locator("#banner").is_hidden())
        until(page, lambda: "newest sample" in text(page, "#status"))
        assert page.locator("body.stale").count() == 0
        until(page, lambda: text(page, "#shown").endswith(", live"))
        until(
            page, lambda: "killed" in text(page, "#gaps") or "overload" in text(page, "#gaps") or second.samples() > 5
        )
    finally:
        ended(second)
    # What it was answering when it was killed is cut off.
    cut = ("ERR_CONNECTION_REFUSED", "ERR_CONTENT_LENGTH_MISMATCH", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    assert [each for each in visit.trouble if not any(word in each for word in cut)] == []


def test_a_proxy_in_front_of_a_dead_daemon_is_no_sign_of_life(visits: Visits) -> None:
    visit = visits(troubled=True)
    page = visit.open()
    page.route("**/healthz", lambda route: route.fulfill(status=502, content_type="text/html", body="Bad Gateway"))
    until(page, lambda: "has not answered" in text(page, "#banner"))


def test_the_page_says_that_the_history_cannot_be_read(visits: Visits) -> None:
    visit = visits(troubled=True)
    body = json.dumps({"error": "Server error: the history cannot be read"})
    visit.page.route(
        "**/api/v1/series?*", lambda route: route.fulfill(status=500, content_type="application/json", body=body)
    )
    visit.page.goto(visit.url)
    until(visit.page, lambda: "the history cannot be read" in text(visit.page, "#banner"))
