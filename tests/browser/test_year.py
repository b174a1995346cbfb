"""The calendar of the year, the SQL box, and what can be taken away from the page."""

import re
from typing import Any

import pytest

from tests.browser.conftest import Visit, Visits, until
from tests.browser.test_page import address, asked_for, seconds, text, violations
from tests.running import Running, query


def opened(visit: Visit) -> Any:
    page = visit.open("?range=24h")
    page.locator("#year").scroll_into_view_if_needed()
    page.locator(".days .heat5").first.wait_for(state="attached")
    return page


def test_the_calendar_is_asked_for_when_somebody_comes_near_and_has_a_square_a_day(visit: Visit) -> None:
    page = visit.open("?range=24h")
    page.wait_for_timeout(500)
    assert not [each for each in asked_for(visit, "series") if each["points"] == ["4400"]]
    page.locator("#year").scroll_into_view_if_needed()
    page.locator(".days .heat5").first.wait_for(state="attached")
    assert 366 <= page.locator(".days button").count() <= 373
    assert page.locator(".days button").last.get_attribute("title").startswith(
        page.evaluate("new Date().toString().slice(0, 3)")
    )  # fmt: skip
    assert re.fullmatch(
        r"Weekday by hour: most on \w{3} \d\d:00, [\d.]+ %", page.locator(".week").get_attribute("aria-label")
    )


def test_where_a_year_is_wider_than_the_screen_its_newest_days_are_in_sight(visits: Visits) -> None:
    page = opened(visits(viewport={"width": 390, "height": 780}))
    edges = page.locator(".days").evaluate(
        "e => [e.lastElementChild, e.querySelector('button:last-of-type'), e.parentElement]"
        ".map(each => each.getBoundingClientRect().right)"
    )
    assert edges[1] <= edges[2] + 1


def test_a_click_on_a_square_shows_that_day_and_arrow_keys_walk(visit: Visit) -> None:
    page = opened(visit)
    square = page.locator(".days button").nth(-4)
    title = square.get_attribute("title")
    page.locator(".days button").last.focus()
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.title") == title
    page.keyboard.press("Enter")
    until(page, lambda: "start" in address(page))
    view = {edge: seconds(value) for edge, value in address(page).items()}
    assert view["end"] - view["start"] in (23 * 3600, 24 * 3600, 25 * 3600)
    assert text(page, "#shown").startswith(title.split(":")[0])


def test_the_calendar_of_who_names_who_used_most(visit: Visit, daemon: Running) -> None:
    page = opened(visit)
    page.locator("#year button", has_text="Who").click()
    until(page, lambda: page.locator(".days [class*=stack]").count() > 300)
    names = daemon.get("/api/v1/who?start=-1y&points=368&top=8")["series"]
    assert re.search(r": (.+) most; ", page.locator(".days button").nth(-10).get_attribute("title"))[1] in names


def test_the_sql_box_has_the_query_of_what_is_shown_and_runs_another(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=24h")
    page.locator("#who tbody tr").first.wait_for()
    page.locator("#to-sql").click()
    # It is in sight, and stays there when what lies above it has come.
    page.locator("#mounts li").first.wait_for(state="attached")
    page.locator(".days button").first.wait_for(state="attached")
    until(page, lambda: page.locator("#statement").evaluate("e => e.getBoundingClientRect().bottom <= innerHeight"))
    assert "FROM process_names" in page.locator("#statement").input_value()
    page.locator("#statement").fill("SELECT reason, COUNT(*) AS n FROM gaps GROUP BY reason ORDER BY reason;")
    page.keyboard.press("Control+Enter")
    page.locator("#rows tbody tr").first.wait_for()
    rows = query(daemon.path, "SELECT reason, COUNT(*) FROM gaps GROUP BY reason ORDER BY reason")
    assert page.locator("#rows th").all_inner_texts() == ["reason", "n"]
    assert page.locator("#rows td").all_inner_texts() == [str(cell) for row in rows for cell in row]
    with page.expect_download() as download:
        page.locator("#rows-csv").click()
    lines = download.value.path().read_text().splitlines()
    assert lines == ["reason,n", *(f"{reason},{n}" for reason, n in rows)]
    assert violations(page) == []


def test_the_sql_box_says_why_a_statement_is_refused(visits: Visits) -> None:
    visit = visits(troubled=True)
    page = visit.open("?range=24h")
    page.locator("#to-sql").click()
    page.locator("#statement").fill("DELETE FROM sample")
    page.locator("#run").click()
    until(page, lambda: "only reads the history" in text(page, "#sql-says"))


def test_a_view_is_taken_away_as_csv_and_as_a_link(visits: Visits, daemon: Running) -> None:
    page = visits(permissions=["clipboard-read", "clipboard-write"]).open("?range=24h")
    with page.expect_download() as download:
        page.locator("#csv").click()
    head, *lines = download.value.path().read_text().splitlines()
    assert head.startswith("time,ts,cpu_percent average,cpu_percent minimum,cpu_percent maximum")
    ts, average = int(lines[100].split(",")[1]), lines[100].split(",")[2]
    step = int(lines[101].split(",")[1]) - ts
    series = daemon.get(f"/api/v1/series?metric=cpu_percent&start={ts}&end={ts + step}&points=2")["series"]
    assert float(average) == pytest.approx(series["cpu_percent"]["average"][0], abs=0.01)
    page.locator("#link").click()
    page.locator("#link", has_text="Copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert re.search(r"\?start=[^&]+Z&end=[^&]+Z$", link)


def test_every_mount_is_drawn_with_the_cone_of_its_forecast(visit: Visit, daemon: Running) -> None:
    page = visit.open("?range=24h")
    page.locator("#mounts").scroll_into_view_if_needed()
    page.locator("#mounts li").first.wait_for()
    mounts = [mount for (mount,) in query(daemon.path, "SELECT mount FROM mounts")]
    assert sorted(page.locator("#mounts bdi").all_inner_texts()) == sorted(mounts)
    assert page.locator("#mounts path.past").count() == len(mounts)
    # However few there are, they fill the width.
    right = "e => e.getBoundingClientRect().right"
    assert page.locator("#mounts li").last.evaluate(right) > page.locator("#mounts").evaluate(right) - 20
    foreseen = page.locator("#mounts li", has=page.locator("path.cone"))
    assert foreseen.locator("bdi").all_inner_texts() == ["/srv/data"]
    assert re.search(r"full in \d+ days \(\w{3} \d+ \w{3}.* – \w{3} \d+ \w{3}", foreseen.inner_text())
