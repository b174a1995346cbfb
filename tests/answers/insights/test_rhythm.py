"""Recurring peaks: in local time, and with the numbers that were judged."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from service.analysis import recurrence
from service.answers.insights import rhythm
from service.answers.monitor import ResourceMonitor
from service.clock import DAY, HOUR, MINUTE, utc_offset
from service.store.reader import History
from tests.answers.insights.past import Past, daily, found_in, proven
from tests.conftest import NOW, FakeClock, settings_for


def test_hours_of_the_day_are_those_of_the_zone(past: Past, path: Path, clock: FakeClock) -> None:
    past.hours(15, cpu_percent=daily(10, 70, hour=3))
    (finding,) = found_in(path, offset=lambda ts: HOUR)
    assert "at about 04:00" in finding.title
    proven(path, finding)
    history = History(path)
    berlin = ResourceMonitor(history, settings_for(path, analysis__timezone="Europe/Berlin"), clock)
    assert [found.title for found in berlin.insights().insights] == [finding.title]
    history.close()


def test_a_peak_that_comes_back_has_the_numbers_that_were_judged_also_where_hours_are_missing(
    past: Past, path: Path
) -> None:
    random = Random(5)
    stamps = [
        ts
        for ts in range(NOW - 20 * DAY, NOW, HOUR)
        if random.random() < 0.8 and not NOW - 9 * DAY < ts < NOW - 8 * DAY
    ]
    values = daily(10, 70)
    by_hour = {ts: round(values(ts), 2) for ts in stamps}
    past.tier("hour", stamps, cpu_percent=by_hour.__getitem__)
    judged = recurrence.daily_peak([by_hour.get(ts) for ts in range(stamps[0], NOW, HOUR)], stamps[0] // HOUR % 24, 10)
    (finding,) = found_in(path, rhythm.recurring_peak)
    assert judged is not None
    assert judged.days < 19
    evidence = finding.evidence
    assert (evidence["hour"], evidence["peak_days"], evidence["days"]) == (judged.hour, judged.peak_days, judged.days)


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]
# 2026: days on which clocks change in these zones are among those that lie up to two weeks after.
CHANGES = ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"]


def offset_in(zone: str) -> Callable[[int], int]:
    return lambda ts: int(utc_offset(ts, ZoneInfo(zone)))


def busy_from(hour: int, offset: Callable[[int], int]) -> Callable[[int], float]:
    """By hours in UTC: 10, and 80 while it is that hour of the local clock, known to the minute."""

    def cpu(ts: int) -> float:
        inside = sum((at + offset(at)) % DAY // HOUR == hour for at in range(ts, ts + HOUR, 15 * MINUTE))
        return 10 + 70 * inside / 4 + ts // HOUR % 7 / 10

    return cpu


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("load", ["local", "utc"])
def test_no_hour_is_unusual_because_the_clock_was_changed(
    past: Past, path: Path, zone: str, change: str, load: str
) -> None:
    offset = offset_in(zone)
    noon = int(datetime.fromisoformat(f"{change}T12:00:00+00:00").timestamp())
    cpu = busy_from(3, offset if load == "local" else lambda ts: 0)
    past.tier("hour", range(noon - 30 * DAY, noon + 10 * DAY, HOUR), cpu_percent=cpu, memory_percent=cpu)
    for days in range(10):
        assert found_in(path, rhythm.unusual_hour, offset, noon + days * DAY) == []


@pytest.mark.parametrize(
    ("zone", "clock"), list(zip(ZONES, ["03:00", "03:00", "03:00", "02:45", "02:30"], strict=True))
)
@pytest.mark.parametrize("change", CHANGES)
def test_a_job_of_the_local_clock_keeps_its_hour_when_the_clock_is_changed(
    past: Past, path: Path, zone: str, clock: str, change: str
) -> None:
    offset = offset_in(zone)
    noon = int(datetime.fromisoformat(f"{change}T12:00:00+00:00").timestamp())
    past.tier("hour", range(noon - 30 * DAY, noon + 10 * DAY, HOUR), cpu_percent=busy_from(3, offset))
    for days in (0, 3, 9):
        (finding,) = found_in(path, rhythm.recurring_peak, offset, noon + days * DAY)
        evidence = finding.evidence
        assert evidence["hour"] in (2, 3)
        assert evidence["peak_days"] == evidence["days"]
        assert evidence["days"] in (26, 27, 28)
        if zone != "Australia/Lord_Howe":
            assert (
                f"at about {clock}" in finding.title or f"at about {int(clock[:2]) + 1:02}{clock[2:]}" in finding.title
            )
        proven(path, finding)


def test_an_unusual_hour_is_found_on_the_day_after_the_clock_was_changed(past: Past, path: Path) -> None:
    offset, noon = offset_in("Europe/Berlin"), int(datetime.fromisoformat("2026-03-30T12:00:00+00:00").timestamp())
    usual = busy_from(3, offset)
    past.tier(
        "hour",
        range(noon - 30 * DAY, noon, HOUR),
        cpu_percent=lambda ts: 99.0 if ts == noon - 3 * HOUR else usual(ts) / 4,
    )
    (finding,) = found_in(path, rhythm.unusual_hour, offset, noon)
    assert finding.evidence["ts"] == noon - 3 * HOUR
    assert finding.evidence["days"] == 28
    proven(path, finding)
