import sqlite3
from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.config import Duration, Retention
from service.metrics import METRICS
from service.recording.retention import Keeper
from service.records import Break, MountUsage
from service.store import filesystems
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, Record
from tests.running import query

KEEP = Retention(samples=Duration(6 * HOUR), minutes=Duration(DAY), hours=Duration(3 * DAY))


def counts(path: Path) -> tuple[int, int, int]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(
            "SELECT (SELECT count(*) FROM sample), (SELECT count(*) FROM minute), (SELECT count(*) FROM hour)"
        ).fetchone()  # type: ignore[no-any-return]
    finally:
        connection.close()


def all_steps(keeper: Keeper) -> None:
    while keeper.roll_up():
        pass
    while keeper.prune():
        pass


@pytest.fixture
def keeper(store: Store, clock: FakeClock) -> Keeper:
    return Keeper(store, clock, KEEP, 10**9)


def test_each_tier_keeps_what_its_setting_says(keeper: Keeper, path: Path, clock: FakeClock, fill: Fill) -> None:
    fill(NOW - 5 * DAY, 5 * 24 * 60, interval=60)
    clock.wall = NOW
    all_steps(keeper)
    samples, minutes, hours = counts(path)
    assert 6 * 60 <= samples <= 8 * 60
    assert 24 * 60 <= minutes <= 26 * 60
    assert 72 <= hours <= 73


@pytest.mark.parametrize("step", [10 * 365 * DAY, 2 * HOUR, -10 * 365 * DAY])
def test_a_wrong_clock_ages_nothing(keeper: Keeper, path: Path, clock: FakeClock, fill: Fill, step: int) -> None:
    fill(NOW - 2 * DAY, 2 * 24 * 60, interval=60)
    clock.wall = NOW
    all_steps(keeper)
    before = counts(path)
    fill(NOW + step, 3, interval=60, begins=Break(NOW - 60, "clock_step"))
    clock.wall = NOW + step
    all_steps(keeper)
    after = counts(path)
    assert after[0] >= before[0] - 60
    assert after[1] >= before[1] - 60
    assert after[2] >= before[2]


def test_a_clock_that_is_behind_keeps_as_much_before_it(
    keeper: Keeper, path: Path, clock: FakeClock, fill: Fill
) -> None:
    fill(NOW - DAY, 24 * 60, interval=60)
    clock.wall = NOW - 3 * HOUR
    all_steps(keeper)
    assert query(path, "SELECT min(ts) FROM samples") == [(NOW - 9 * HOUR,)]


def test_a_long_silence_does_not_empty_the_history(keeper: Keeper, path: Path, clock: FakeClock, fill: Fill) -> None:
    fill(NOW - 300 * DAY, 600, interval=60)
    fill(NOW, 2, begins=Break(NOW - 300 * DAY + 36000, "stopped"))
    clock.wall = NOW + 10
    all_steps(keeper)
    assert counts(path)[0] == 6 * 60 + 2


def test_captures_of_processes_are_reduced_to_hours_and_kept_as_their_setting_says(
    store: Store, path: Path, clock: FakeClock, fill: Fill, record: Record
) -> None:
    fill(NOW - DAY, 24 * 60, interval=60)
    for minute in range(1, 24 * 60 + 1):
        record(NOW - DAY + 60 * minute, 1.0, ("web", 1, 0.5, 10**6), covered=60)
    clock.wall = NOW
    all_steps(Keeper(store, clock, Retention(processes=Duration(6 * HOUR)), 10**9))
    assert 6 * 60 <= query(path, "SELECT count(*) FROM processes")[0][0] <= 8 * 60
    assert query(path, "SELECT count(*) FROM process_hours") == [(24,)]


def test_over_its_size_captures_go_before_minutes(
    store: Store, path: Path, clock: FakeClock, fill: Fill, record: Record
) -> None:
    fill(NOW - 2 * DAY, 2 * 24 * 60, interval=60)
    for minute in range(1, 2 * 24 * 60 + 1, 3):
        record(NOW - 2 * DAY + 60 * minute, 1.0, *((f"p{n}", n, 0.5, 10**6) for n in range(20)))
    clock.wall = NOW
    all_steps(Keeper(store, clock, Retention(), 10**9))
    minutes = counts(path)[1]
    all_steps(Keeper(store, clock, Retention(), store.used_bytes() * 3 // 4))
    assert counts(path)[1] == minutes
    assert query(path, "SELECT min(ts) FROM processes")[0][0] > NOW - DAY


def test_file_systems_keep_a_row_a_minute_and_then_one_an_hour(
    store: Store, keeper: Keeper, path: Path, clock: FakeClock, fill: Fill
) -> None:
    fill(NOW - DAY, 24 * 60, interval=60)
    usage = MountUsage("/", 10**9, 10**8, 10**8)
    for minute in range(24 * 60):
        store.write(lambda e, ts=NOW - DAY + 60 * minute: filesystems.insert(e, ts, [usage], 1))  # type: ignore[misc]
    clock.wall = NOW
    all_steps(keeper)
    kept = query(path, f"SELECT sum(ts >= {NOW - 6 * HOUR}), sum(ts < {NOW - 8 * HOUR}) FROM filesystems")
    assert kept == [(6 * 60, 16)]


def test_over_its_size_the_oldest_samples_go_and_rollups_stay(
    store: Store, path: Path, clock: FakeClock, fill: Fill
) -> None:
    fill(NOW - 2 * DAY, 2 * 17280, **{metric.name: 12345 for metric in METRICS})
    clock.wall = NOW
    keeper = Keeper(store, clock, Retention(), 4_000_000)
    all_steps(keeper)
    samples, minutes, hours = counts(path)
    assert store.used_bytes() <= 4_000_000
    assert 1440 <= samples < 2 * 17280
    assert (minutes, hours) == (2 * 1440 - 1, 47)


def test_the_last_two_hours_outlive_any_size(store: Store, path: Path, clock: FakeClock, fill: Fill) -> None:
    """Two that are rolled up, beside the one that goes on."""
    fill(NOW - 4 * HOUR, 4 * 720, **{metric.name: 12345 for metric in METRICS})
    clock.wall = NOW
    all_steps(Keeper(store, clock, Retention(), 1))
    assert counts(path)[0] == 3 * 720


def test_every_sixth_time_that_nothing_is_left_to_roll_up_the_log_is_taken_into_the_file(
    keeper: Keeper, store: Store, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints: list[int] = []
    monkeypatch.setattr(store, "checkpoint", lambda: checkpoints.append(1))
    fill(NOW, 5)
    assert [keeper.roll_up() or len(checkpoints) for _ in range(13)] == [0] * 5 + [1] * 6 + [2] * 2


def test_the_file_shrinks(store: Store, path: Path, clock: FakeClock, fill: Fill) -> None:
    fill(NOW - 2 * DAY, 2 * 17280, **{metric.name: 12345 for metric in METRICS})
    clock.wall = NOW
    all_steps(Keeper(store, clock, Retention(), 10**9))
    before = path.stat().st_size
    all_steps(Keeper(store, clock, KEEP, 10**9))
    store.checkpoint()
    assert path.stat().st_size < before / 2


@pytest.mark.parametrize(("bytes_less", "deletes"), [(0, False), (1, True)])
def test_a_history_of_exactly_its_size_limit_loses_nothing(
    store: Store, path: Path, clock: FakeClock, fill: Fill, bytes_less: int, deletes: bool
) -> None:
    fill(NOW - 6 * HOUR, 6 * 720)
    clock.wall = NOW
    all_steps(Keeper(store, clock, Retention(), 10**9))
    before = counts(path)
    all_steps(Keeper(store, clock, Retention(), store.used_bytes() - bytes_less))
    assert (counts(path) != before) == deletes
