"""A year by the days of the local calendar."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.answers.calendar import calendar
from service.answers.moments import writer
from service.clock import DAY, HOUR
from service.errors import TidemarkError
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import Fill


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_it_is_whole_weeks_up_to_today(history: History, fill: Fill) -> None:
    now = at("2026-03-04T12:00:00")  # a Wednesday
    fill(now - HOUR, 10, cpu_percent=20.0)
    with history.view() as view:
        answer = calendar(view, "cpu_percent", now, UTC)
    dates = [writer(UTC)(day.date) for day in answer.days]
    assert (dates[0], dates[-1], len(dates)) == ("2025-03-03", "2026-03-04", 52 * 7 + 3)
    assert [(day.average, day.maximum, day.covered_seconds) for day in answer.days[-2:]] == [
        (None, None, 0),
        (20.0, 20.0, 50.0),
    ]


def test_an_average_is_weighted_by_time_over_all_hours_of_the_day(store: Store, history: History, fill: Fill) -> None:
    start = at("2026-03-03T00:00:00")
    fill(start, 720, cpu_percent=10.0)
    fill(start + 20 * HOUR, 240, cpu_percent=50.0)
    while store.roll_up():
        pass
    with history.view() as view:
        (day,) = [day for day in calendar(view, "cpu_percent", start + DAY - 1, UTC).days if day.average is not None]
    assert (day.average, day.maximum) == (20.0, 50.0)


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", {"2026-03-03": 30.0}),
        ("America/New_York", {"2026-03-02": 10.0, "2026-03-03": 50.0}),
        ("Asia/Kolkata", {"2026-03-03": 10.0, "2026-03-04": 50.0}),
    ],
)
def test_a_day_is_one_of_the_local_calendar(history: History, fill: Fill, zone: str, days: dict[str, float]) -> None:
    start = at("2026-03-03T00:00:00")
    fill(start + HOUR, 12, cpu_percent=10.0)
    fill(start + 20 * HOUR, 12, cpu_percent=50.0)
    local = ZoneInfo(zone)
    with history.view() as view:
        answer = calendar(view, "cpu_percent", start + 2 * DAY, local)
    assert {writer(local)(day.date): day.average for day in answer.days if day.average is not None} == days


def test_a_day_without_a_midnight_is_one_all_the_same(history: History, fill: Fill) -> None:
    """In Santiago the clocks go from 23:59 to 1:00."""
    zone = ZoneInfo("America/Santiago")
    now = int(datetime(2026, 9, 8, 12, tzinfo=zone).timestamp())
    fill(now - 2 * DAY, 1, cpu_percent=10.0)
    with history.view() as view:
        dates = [writer(zone)(day.date) for day in calendar(view, "cpu_percent", now, zone).days]
    assert dates[-3:] == ["2026-09-06", "2026-09-07", "2026-09-08"]
    assert len(set(dates)) == len(dates)


def test_another_metric_is_refused(history: History) -> None:
    with history.view() as view, pytest.raises(TidemarkError, match="metric = 'nothing'"):
        calendar(view, "nothing", 0, UTC)
