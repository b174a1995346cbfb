"""The folded devices: a disk, an interface and a sensor, each chosen from all that are recorded."""

import json
from typing import Any

from tests.browser.conftest import Visit, until
from tests.browser.test_page import HOSTILE, JSON, asked_for, colours, plot


def unfolded(page: Any) -> None:
    page.locator("#devices summary").first.click()
    page.locator("#chart-sensor-celsius canvas[aria-label*='average']").wait_for()


def options(page: Any, kind: str) -> list[str]:
    """As they are read, without the isolates around the names."""
    found = page.locator(f"#kinds [aria-label={kind}s] option").evaluate_all("each => each.map(one => one.textContent)")
    return [text.replace("\u2068", "").replace("\u2069", "") for text in found]


def devices(visit: Visit, kinds: dict[str, list[dict[str, Any]]], left_out: int = 0) -> None:
    """Lists these instead of what is recorded."""
    found = [
        {**{"kind": kind, "name": "x", "ts": 1, "time": None, "covered_seconds": 30, "state": None}, **each}
        | {"device": f"{kind}:{each['name']}"}
        for kind, all_of in kinds.items()
        for each in all_of
    ]
    body = json.dumps({"devices": found, "left_out": left_out})
    visit.page.route("**/api/v1/devices", lambda route: route.fulfill(**{**JSON, "body": body}))


def test_devices_are_asked_for_and_drawn_once_they_are_unfolded(visit: Visit) -> None:
    page = visit.open("?range=24h")
    assert not asked_for(visit, "devices")
    unfolded(page)
    assert {each.split(" · ")[0] for each in options(page, "disk")} >= {"nvme0n1", "sda"}
    assert [each.split(" · ")[0] for each in options(page, "sensor")] == ["coretemp.0/Package id 0", "nvme0/Composite"]
    page.locator("#kinds [aria-label=disks] select").select_option("disk:sda")
    until(page, lambda: ["disk:sda"] in [each.get("device") for each in asked_for(visit, "series")])
    for chart in ("disk-busy", "disk-bytes", "interface-bytes", "sensor-celsius"):
        plot(page, chart)
        until(page, lambda chart=chart: len(colours(page, chart, 0.1, 0.8)) > 100)
        label = page.locator(f"#chart-{chart} canvas").get_attribute("aria-label")
        assert "average" in label, label
    # The limit by the device is a line from edge to edge, in the colour of what is bad.
    until(page, lambda: colours(page, "sensor-celsius", 0.3, 0.9).count([0xB3, 0x26, 0x1E]) > 100)
    # They move with all other charts.
    seen = len(asked_for(visit, "series"))
    page.get_by_role("button", name="7d", exact=True).click()
    until(page, lambda: {"-7d"} <= {each["start"][0] for each in asked_for(visit, "series")[seen:] if "device" in each})


def test_a_finding_about_a_device_leads_to_the_charts_of_that_device(visit: Visit) -> None:
    found = {
        "code": "disk_busy",
        "severity": "warning",
        "title": "sda",
        "detail": "",
        "evidence": {},
        "sql": "SELECT 1",
    }
    body = json.dumps({"insights": [{**found, "device": "disk:sda"}], "later": []})
    visit.page.route("**/api/v1/insights", lambda route: route.fulfill(**{**JSON, "body": body}))
    page = visit.open("?range=24h")
    page.locator("#insights summary").click()
    page.locator("#insights button", has_text="Show its chart").click()
    page.locator("#chart-disk-busy canvas[aria-label*='average']").wait_for()
    assert page.locator("#kinds [aria-label=disks] select").input_value() == "disk:sda"
    until(page, lambda: 0 <= page.locator("#chart-disk-busy").bounding_box()["y"] < page.viewport_size["height"] - 100)


def test_devices_are_listed_by_how_busy_they_are_and_their_names_are_text(visit: Visit) -> None:
    busy = [{"name": f"d{number}", "figures": {"busy_percent": number % 97}} for number in range(200)]
    hostile = [{"name": name, "figures": {"celsius": 40 - n}} for n, name in enumerate(HOSTILE)]
    devices(visit, {"disk": [{"name": "gone", "figures": {}}, *busy], "sensor": hostile}, left_out=7)
    flat = {"average": [1], "minimum": [None], "maximum": [None]}
    names = ("busy_percent", "read_bytes", "written_bytes", "celsius")
    series = json.dumps({"step": 60, "ts": [0], "series": dict.fromkeys(names, flat)})
    visit.page.route("**/api/v1/series?device=*", lambda route: route.fulfill(**{**JSON, "body": series}))
    page = visit.open("?range=24h")
    page.locator("#devices summary").first.click()
    until(page, lambda: len(options(page, "disk")) == 201)
    disks = options(page, "disk")
    assert (disks[0], disks[-1]) == ("d96 · 96.0 % busy", "gone")
    shown = [*HOSTILE[:2], "\\x202egnp.exe", "a\\x1b[31m\\x0ab", HOSTILE[4]]
    assert options(page, "sensor") == [f"{name} · {40 - n} °C" for n, name in enumerate(shown)]
    assert page.locator("#kinds img, #kinds script").count() == 0
    # The longest is cut off.
    assert page.locator("#kinds [aria-label=sensors] select").bounding_box()["width"] < 640
    until(page, lambda: "Not recorded here: interfaces. 7 more" in page.locator("#devices .note").inner_text())
    assert page.locator("#kinds [aria-label=interfaces]").is_hidden()
