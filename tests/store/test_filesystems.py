"""How full file systems were: rows thin out, a course is read by the hour, forecasts are watched."""

from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.records import Forecast, MountUsage
from service.store import filesystems
from service.store.writer import Store
from tests.conftest import NOW
from tests.running import query

KB = 1024


class Disk:
    """Stores rows and forecasts of one file system of 1000 kB, 50 of them reserved."""

    def __init__(self, store: Store, path: str = "/srv") -> None:
        self.store, self.path = store, path

    def is_at(self, ts: int, used_kb: int) -> None:
        usage = MountUsage(self.path, 1000 * KB, used_kb * KB, (950 - used_kb) * KB)
        self.store.write(lambda statements: filesystems.insert(statements, ts, [usage], 1))

    def forecast(self, made: int, level_kb: int, earliest: int, latest: int | None) -> None:
        forecast = Forecast(made, self.path, True, level_kb * KB, 10 * KB, earliest, earliest + 1, latest)
        self.store.write(lambda statements: filesystems.insert_forecast(statements, 1, forecast))

    def watch(self, now: int) -> None:
        self.store.write(lambda statements: filesystems.watch(statements, 1, now))

    def prune(self, minutes_before: int, hours_before: int = 0) -> None:
        while self.store.write(lambda statements: filesystems.prune(statements, minutes_before, hours_before)):
            pass


@pytest.fixture
def disk(store: Store) -> Disk:
    return Disk(store)


def test_the_view_has_size_and_usage_by_the_minute(disk: Disk, path: Path) -> None:
    disk.is_at(NOW, 400)
    assert query(path, "SELECT ts, time, mount, total_bytes, used_bytes FROM filesystems") == [
        (NOW, "2026-01-05T10:00:00Z", "/srv", 1000 * KB, 400 * KB)
    ]
    assert query(path, "SELECT available_bytes FROM mounts") == [(550 * KB,)]


def test_the_newest_state_of_each_mount_comes_once(disk: Disk, store: Store, path: Path) -> None:
    other = Disk(store, "/it's")
    for ts, used in ((NOW, 1), (NOW + 60, 2)):
        disk.is_at(ts, used)
        other.is_at(ts, 10 * used)
    assert query(path, "SELECT mount, used_bytes FROM mounts ORDER BY mount") == [("/it's", 20 * KB), ("/srv", 2 * KB)]


def test_old_minutes_thin_out_to_one_an_hour_and_the_oldest_go(disk: Disk, path: Path) -> None:
    for minute in range(0, 5 * 60, 5):
        disk.is_at(NOW + 60 * minute, minute)
    disk.prune(NOW + 3 * HOUR)
    kept = [(ts - NOW) // 60 for (ts,) in query(path, "SELECT ts FROM filesystems ORDER BY ts")]
    assert kept == [0, 60, 120, *range(180, 300, 5)]
    disk.prune(NOW + 3 * HOUR, NOW + HOUR)
    assert query(path, "SELECT min(ts) FROM filesystems") == [(NOW + HOUR,)]


def test_forecasts_go_with_the_oldest_and_the_others_stay(disk: Disk, store: Store, path: Path) -> None:
    other = Disk(store, "/it's")
    for number, of_one in enumerate((disk, other), 1):
        of_one.is_at(NOW, 400)
        for made in (NOW, NOW + HOUR - 1, NOW + HOUR, NOW + 2 * HOUR):
            made_then = Forecast(made, of_one.path, True, 500 * KB, KB, made + 100, made + 101, None)
            store.write(lambda s, number=number, made=made_then: filesystems.insert_forecast(s, number, made))  # type: ignore[misc]
    disk.prune(NOW + 3 * HOUR, NOW + HOUR)
    assert query(path, "SELECT made_ts, count(*) FROM forecasts GROUP BY made_ts ORDER BY made_ts") == [
        (NOW + HOUR, 2),
        (NOW + 2 * HOUR, 2),
    ]


def test_a_month_is_thinned_in_bounded_steps(disk: Disk, store: Store, path: Path) -> None:
    for hour in range(0, 30 * 24, 6):
        disk.is_at(NOW + hour * HOUR, 1)
        disk.is_at(NOW + hour * HOUR + 60, 1)
    steps = 1
    while store.write(lambda statements: filesystems.prune(statements, NOW + 30 * DAY, 0)):
        steps += 1
    assert steps == 30
    assert query(path, "SELECT count(*) FROM filesystems") == [(120,)]


def test_a_course_has_what_was_used_at_the_end_of_each_hour_and_none_where_nothing_was_recorded(disk: Disk) -> None:
    for offset, used in ((0, 1), (3000, 2), (HOUR, 3), (3 * HOUR, 4), (3 * HOUR + 60, 5)):
        disk.is_at(NOW + offset, used)
    course = disk.store.write(lambda statements: filesystems.course(statements, 0, NOW + 3 * HOUR + 90))
    assert course is not None
    assert course.used == [2 * KB, 3 * KB, None, 5 * KB]
    assert (course.last_ts, course.full_bytes) == (NOW + 3 * HOUR + 60, 950 * KB)


def test_what_is_not_mounted_any_more_gets_no_forecast(disk: Disk) -> None:
    disk.is_at(NOW, 1)
    assert disk.store.write(lambda statements: filesystems.course(statements, 0, NOW + 2 * HOUR)) is None


def test_the_view_has_a_forecast_as_it_was_made(disk: Disk, path: Path) -> None:
    disk.is_at(NOW, 400)
    disk.forecast(NOW, 500, NOW + 100, NOW + 900)
    assert query(
        path,
        "SELECT made_ts, mount, is_full, level_bytes, growth_bytes_per_day, earliest_ts, middle_ts, latest_ts, "
        "reached_ts, watched_until FROM forecasts",
    ) == [(NOW, "/srv", 1, 500 * KB, 10 * KB, NOW + 100, NOW + 101, NOW + 900, None, NOW)]


@pytest.mark.parametrize(("minutes", "holds"), [(9, False), (10, True), (20, True), (21, False), (None, False)])
def test_a_forecast_held_that_was_reached_within_its_interval_or_at_its_ends(
    disk: Disk, store: Store, minutes: int | None, holds: bool
) -> None:
    disk.is_at(NOW, 400)
    made = Forecast(NOW, "/srv", False, 500 * KB, KB, NOW + 600, NOW + 900, NOW + 1200)
    store.write(lambda statements: filesystems.insert_forecast(statements, 1, made))
    if minutes is not None:
        disk.is_at(NOW + 60 * minutes, 500)
    disk.watch(NOW + 3000)

    def held(since: int, now: int, least: int) -> list[bool]:
        return store.write(lambda statements: filesystems.held(statements, 1, since, now, least))

    assert held(NOW - 1, NOW + 1200, 900) == [holds]
    assert held(NOW - 1, NOW + 1199, 900) == held(NOW, NOW + 1200, 900) == held(NOW - 1, NOW + 1200, 901) == []


def test_a_level_that_is_reached_has_the_moment_when_it_was_first(disk: Disk, path: Path) -> None:
    disk.forecast(NOW, 500, NOW + 100, NOW + 900)
    for number in range(5):
        disk.is_at(NOW + 120 * number, 400 + 40 * number)
        disk.watch(NOW + 120 * number)
    assert query(path, "SELECT reached_ts FROM forecasts") == [(NOW + 360,)]


def test_what_was_reached_before_the_forecast_was_made_does_not_count(disk: Disk, path: Path) -> None:
    disk.is_at(NOW, 900)
    disk.forecast(NOW + 60, 500, NOW + 100, NOW + 900)
    disk.is_at(NOW + 90, 400)
    disk.watch(NOW + 200)
    assert query(path, "SELECT reached_ts FROM forecasts") == [(None,)]
    disk.is_at(NOW + 300, 600)
    disk.watch(NOW + 300)
    assert query(path, "SELECT reached_ts FROM forecasts") == [(NOW + 300,)]


def test_in_one_search_what_lies_before_the_forecast_does_not_count(disk: Disk, path: Path) -> None:
    disk.forecast(NOW - 600, 5000, NOW, NOW + 900)  # still open, so the search begins before the next
    disk.is_at(NOW, 900)
    disk.forecast(NOW + 60, 500, NOW + 100, NOW + 900)
    disk.is_at(NOW + 120, 600)
    disk.watch(NOW + 200)
    assert query(path, "SELECT reached_ts FROM forecasts ORDER BY made_ts") == [(None,), (NOW + 120,)]


def test_what_held_is_counted_once_for_forecasts_that_overlap(disk: Disk, store: Store) -> None:
    disk.is_at(NOW, 0)
    for hour in range(20 * 24):
        made = NOW + hour * HOUR
        forecast = Forecast(made, "/srv", False, (hour + 96) * KB, KB, made + 3 * DAY, made + 4 * DAY, made + 5 * DAY)
        store.write(lambda statements, forecast=forecast: filesystems.insert_forecast(statements, 1, forecast))
        disk.is_at(made + HOUR, hour if hour < 240 else 240)
    disk.watch(NOW + 20 * DAY)
    held = store.write(lambda statements: filesystems.held(statements, 1, NOW - 1, NOW + 20 * DAY, 3 * DAY))
    assert held == [True, True, False, False]
    assert store.write(lambda statements: filesystems.held(statements, 1, NOW - 1, NOW + 20 * DAY, 9 * DAY)) == []
