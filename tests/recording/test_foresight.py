"""Forecasts of file systems as they are stored: from when they count, to which level, and none without growth."""

from pathlib import Path

import pytest

from service.analysis import forecast
from service.analysis.forecast import Filling
from service.clock import HOUR
from service.recording import foresight
from service.recording.foresight import forecasts, foresee
from service.records import Forecast, MountUsage
from service.store import filesystems
from service.store.filesystems import Course
from service.store.writer import Store
from tests.conftest import NOW, Fill
from tests.running import query

FULL = 1000


# Of how many days' growth the forecast of this hour is: each of NEAR_DAYS has its turn.
DAYS = foresight.NEAR_DAYS[NOW // HOUR % len(foresight.NEAR_DAYS)]


FILLING = Filling(50.9, HOUR + 0.4, 2 * HOUR, 3 * HOUR - 0.4)


def course(*used: float | None) -> Course:
    return Course(7, "/data", NOW, list(used), FULL)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Step and level of each forecast that is asked for; all answer the same."""
    asked: list[tuple[float, float]] = []

    def time_to_full(_: object, step: float, level: float) -> Filling:
        asked.append((step, level))
        return FILLING

    monkeypatch.setattr(forecast, "time_to_full", time_to_full)
    return asked


def test_a_forecast_counts_from_the_last_reading_and_is_of_both_levels(asked: list[tuple[float, float]]) -> None:
    full, near = forecasts(course(100, 200, None))
    wide = forecast.widened(FILLING, 1.0)
    near_level = 200 + 50.9 * DAYS
    assert asked == [(HOUR, FULL), (HOUR, near_level)]
    assert full == Forecast(
        made=NOW,
        mount="/data",
        is_full=True,
        level_bytes=FULL,
        growth_bytes_per_day=50,
        earliest=NOW + round(wide.earliest_seconds),
        middle=NOW + 2 * HOUR,
        latest=NOW + round(wide.latest_seconds or 0),
    )
    assert NOW < full.earliest < NOW + HOUR
    assert (near.is_full, near.level_bytes, near.latest) == (False, int(near_level), full.latest)


@pytest.mark.parametrize(("used", "count"), [(FULL - 50.9 * DAYS, 2), (FULL - 50.9 * DAYS + 0.1, 1)])
def test_growth_beyond_what_is_full_is_not_forecast(asked: list[tuple[float, float]], used: float, count: int) -> None:
    assert len(forecasts(course(100, used))) == len(asked) == count


def test_an_open_end_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "time_to_full", lambda *_: Filling(50, HOUR, HOUR, None))
    assert [made.latest for made in forecasts(course(100))] == [None, None]


def test_what_does_not_grow_has_no_forecast() -> None:
    assert forecasts(course(*[100.0] * 200)) == []


def test_each_file_system_is_forecast_in_its_turn_and_stored(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    for hour in range(480):
        used = 10**9 + hour * 10**7 + hour * 7919 % 13 * 10**5
        usages = [MountUsage("/", 10**12, used, 10**10 - used), MountUsage("/still", 10**9, 10**8, 10**9)]
        store.write(lambda statements, h=hour, u=usages: filesystems.insert(statements, NOW + h * HOUR, u, 1))  # type: ignore[misc]
    now = NOW + 479 * HOUR + 60

    def after(number: int) -> int | None:
        return store.write(lambda statements: foresee(statements, number, now))

    first = after(0)
    assert first is not None
    second = after(first)
    assert second is not None
    assert after(second) is None
    rows = query(path, "SELECT mount_id, made_ts, is_full FROM forecast ORDER BY is_full")
    assert rows == [(first, NOW + 479 * HOUR, 0), (first, NOW + 479 * HOUR, 1)]
    assert query(path, "SELECT DISTINCT watched_until - made_ts FROM forecast") == [(0,)]
    now += HOUR
    store.write(lambda statements: filesystems.insert(statements, now, usages, 1))
    after(0)
    watched = query(path, f"SELECT watched_until FROM forecast WHERE made_ts = {NOW + 479 * HOUR}")
    assert watched == [(now,)] * 2
