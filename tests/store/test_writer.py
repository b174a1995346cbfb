import sqlite3
from pathlib import Path

import pytest

from service.clock import HOUR, MINUTE
from service.errors import StoreFailed
from service.metrics import METRICS
from service.records import Break, Sample
from service.store.schema import encode
from service.store.writer import Store
from tests.conftest import NOW, Fill


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def roll_up_all(store: Store) -> None:
    while store.roll_up():
        pass


def test_a_stored_sample_reads_back_in_natural_units(store: Store, path: Path) -> None:
    store.append([Sample(NOW, 5.0, {"cpu_percent": 12.34, "load_1": 1.5, "disk_read_bytes": 2**40}, Break(None, None))])
    assert rows(
        path, "SELECT ts, covered_seconds, cpu_percent, load_1, disk_read_bytes, swap_percent FROM samples"
    ) == [(NOW, 5.0, 12.34, 1.5, 2**40, None)]


def test_every_metric_of_the_list_has_its_column(store: Store, path: Path) -> None:
    store.append([Sample(NOW, 5.0, {m.name: 7 for m in METRICS}, Break(None, None))])
    found = rows(path, f"SELECT {', '.join(m.name for m in METRICS)} FROM samples")
    assert found == [(7,) * len(METRICS)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**70, None])
def test_what_is_no_number_that_fits_is_unknown(value: float | None) -> None:
    assert encode(value, 100) is None


def test_a_stamp_that_comes_twice_is_two_samples(store: Store, path: Path) -> None:
    store.append([Sample(NOW, 5.0, {"cpu_percent": 1}, Break(None, None))])
    store.append([Sample(NOW, 5.0, {"cpu_percent": 2}, Break(NOW, "clock_step"))])
    assert rows(path, "SELECT ts, cpu_percent FROM samples ORDER BY cpu_percent") == [(NOW, 1.0), (NOW, 2.0)]


def test_storing_the_same_sample_again_changes_nothing(store: Store, path: Path, fill: Fill) -> None:
    samples = fill(NOW, 3)
    store.append([samples[2]])
    store.append(samples[1:])
    assert rows(path, "SELECT count(*) FROM samples") == [(3,)]


def test_all_of_an_append_is_stored_or_none(store: Store, path: Path) -> None:
    broken = Sample(None, 5.0, {})  # type: ignore[arg-type]
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW, 5.0, {}, Break(None, None)), broken])
    assert rows(path, "SELECT (SELECT count(*) FROM sample), (SELECT count(*) FROM stretch)") == [(0, 0)]


def test_after_an_error_the_next_append_goes_on(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 2)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW + 10, 5.0, {})])
    blocker.execute("ROLLBACK")
    blocker.close()
    store.append([Sample(NOW + 10, 5.0, {})])
    assert rows(path, "SELECT count(DISTINCT stretch_id), count(*) FROM sample") == [(1, 3)]


def test_the_version_changes_with_each_stored_sample(store: Store) -> None:
    before = store.version
    store.append([Sample(NOW, 5.0, {}, Break(None, None))])
    store.append([Sample(NOW + 5, 5.0, {})])
    assert store.version == before + 2


def test_a_clean_stop_leaves_one_ordinary_file(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    store.end_run(NOW + 1)
    assert store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert rows(path, "PRAGMA journal_mode") == [("delete",)]
    assert rows(path, "SELECT stopped, clean FROM runs") == [("2026-01-05T10:00:01Z", 1)]


@pytest.mark.parametrize(
    ("clean", "boot_id", "reason"),
    [
        (True, "boot-1", "stopped"),
        (False, "boot-1", "killed"),
        (False, "boot-2", "rebooted"),
        (True, "boot-2", "rebooted"),
    ],
)
def test_a_new_run_tells_why_the_last_one_ended(
    store: Store, path: Path, fill: Fill, clean: bool, boot_id: str, reason: str
) -> None:
    fill(NOW, 3)
    if clean:
        store.end_run(NOW + 10)
    store.close()
    following = Store(path)
    following.open()
    assert following.begin_run(NOW + 99, NOW, boot_id, "0.1.0", 5) == Break(NOW + 10, reason)  # type: ignore[arg-type]
    following.close()


def test_the_first_run_has_nothing_before_it(path: Path) -> None:
    store = Store(path)
    store.open()
    assert store.begin_run(NOW, None, None, "0.1.0", 5) == Break(None, None)
    store.close()


def test_gaps_are_told_from_the_stretches(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3)
    fill(NOW + 100, 2, begins=Break(NOW + 10, "overload"))
    assert rows(path, "SELECT * FROM gaps") == [
        (NOW + 10, NOW + 95, "2026-01-05T10:00:10Z", "2026-01-05T10:01:35Z", "overload")
    ]


def test_a_minute_is_rolled_up_once_a_sample_lies_after_it(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 12, cpu_percent=lambda i: i)
    roll_up_all(store)
    assert rows(path, "SELECT * FROM minutes") == []
    store.append([Sample(NOW + 60, 5.0, {"cpu_percent": 99})])
    roll_up_all(store)
    assert rows(
        path, "SELECT ts, samples, covered_seconds, cpu_percent, cpu_percent_min, cpu_percent_max FROM minutes"
    ) == [(NOW, 12, 60.0, 5.5, 0.0, 11.0)]


def test_an_average_is_weighted_by_covered_time(store: Store, path: Path) -> None:
    store.append(
        [
            Sample(NOW, 1.0, {"cpu_percent": 0}, Break(None, None)),
            Sample(NOW + 3, 3.0, {"cpu_percent": 100}),
            Sample(NOW + 60, 5.0, {}),
        ]
    )
    roll_up_all(store)
    assert rows(path, "SELECT cpu_percent FROM minutes") == [(75.0,)]


def test_an_unknown_value_weighs_nothing(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 13, cpu_percent=lambda i: 40 if i < 3 else None, swap_percent=None)
    roll_up_all(store)
    assert rows(path, "SELECT cpu_percent, swap_percent, swap_percent_max FROM minutes") == [(40.0, None, None)]
    assert rows(path, "SELECT partial FROM minute") == [('{"cpu_percent":15000}',)]


def test_increases_count_what_was_seen_across_a_reset_and_a_break(store: Store, path: Path, fill: Fill) -> None:
    counts = [100, 200, 50, 80]  # reset to 50: what came before the reset is not known
    fill(NOW, 4, network_sent_bytes=lambda i: counts[i])
    fill(NOW + 40, 2, begins=Break(NOW + 15, "killed"), network_sent_bytes=lambda i: 1000 + i)
    store.append([Sample(NOW + 60, 5.0, {})])
    roll_up_all(store)
    assert rows(path, "SELECT network_sent_bytes_increase FROM minutes") == [(100 + 30 + 1,)]


def test_an_increase_over_the_border_of_a_minute_is_the_later_minutes(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 25, network_sent_bytes=lambda i: i * 10)
    roll_up_all(store)
    assert rows(path, "SELECT network_sent_bytes_increase FROM minutes") == [(110,), (120,)]


def test_a_slow_interval_keeps_its_neighbours(path: Path) -> None:
    store = Store(path)
    store.open()
    store.begin_run(NOW, None, None, "0.1.0", 600)
    store.append(
        [
            Sample(NOW + i * 600, 600.0, {"disk_read_bytes": i * 7}, Break(None, None) if i == 0 else None)
            for i in range(4)
        ]
    )
    roll_up_all(store)
    store.close()
    assert rows(path, "SELECT disk_read_bytes_increase FROM minutes") == [(None,), (7,), (7,)]


def test_rolling_up_twice_is_rolling_up_once(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 2000, cpu_percent=lambda i: i % 100)
    roll_up_all(store)
    before = rows(path, "SELECT * FROM minutes UNION ALL SELECT * FROM hours")
    rows(path, "SELECT 1")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE progress SET minutes_until = 0, hours_until = 0")
    connection.commit()
    connection.close()
    again = Store(path)
    again.open()
    roll_up_all(again)
    again.close()
    assert rows(path, "SELECT * FROM minutes UNION ALL SELECT * FROM hours") == before


def test_hours_follow_from_minutes(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 730, cpu_percent=lambda i: 10 if i < 360 else 30)
    roll_up_all(store)
    assert rows(path, "SELECT ts, samples, covered_seconds, cpu_percent, cpu_percent_max FROM hours") == [
        (NOW, 720, 3600.0, 20.0, 30.0)
    ]


def test_a_clock_set_back_rolls_up_again_what_it_touches(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 25, cpu_percent=10)
    roll_up_all(store)
    fill(NOW + 30, 3, begins=Break(NOW + 120, "clock_step"), cpu_percent=50)
    roll_up_all(store)
    assert rows(path, "SELECT samples, cpu_percent FROM minutes WHERE ts = " + str(NOW)) == [(15, 18.0)]


def test_a_burst_shows_in_the_maximum_of_the_hour(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 725, cpu_percent=lambda i: 97.5 if i == 300 else 1, disk_read_bytes=lambda i: 5_000_000 * (i > 300))
    roll_up_all(store)
    assert rows(path, "SELECT cpu_percent_max FROM hours") == [(97.5,)]
    assert rows(path, "SELECT disk_read_bytes_rate_max FROM hour") == [(1_000_000,)]


def test_pruning_takes_only_what_is_rolled_up(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1000)
    while store.prune(NOW + 10**6, NOW, NOW):
        pass
    assert rows(path, "SELECT count(*) FROM sample") == [(1000,)]
    roll_up_all(store)
    while store.prune(NOW + 10**6, NOW, NOW):
        pass
    assert rows(path, "SELECT min(ts) FROM sample") == [(NOW + HOUR,)]
    assert rows(path, "SELECT samples_from FROM progress") == [(NOW + HOUR,)]


def test_pruning_goes_in_bounded_steps(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 8000)
    roll_up_all(store)
    steps = 1
    while store.prune(NOW + 10**6, 0, 0):
        steps += 1
    assert steps >= 4


def test_a_minute_of_which_samples_are_gone_is_not_overwritten(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1500, cpu_percent=10)
    roll_up_all(store)
    while store.prune(NOW + HOUR, 0, 0):
        pass
    fill(NOW + 5 * MINUTE, 2, begins=Break(NOW + 7500, "clock_step"), cpu_percent=90)
    roll_up_all(store)
    assert rows(path, f"SELECT samples, cpu_percent FROM minutes WHERE ts = {NOW + 5 * MINUTE}") == [(12, 10.0)]


def test_freed_pages_go_back_to_the_file_system(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 20_000, cpu_percent=1, disk_read_bytes=2**40)
    roll_up_all(store)
    store.checkpoint()
    before = path.stat().st_size
    while store.prune(NOW + 10**6, 0, 0):
        pass
    while store.shrink():
        pass
    store.close()
    assert path.stat().st_size < before / 2


def test_recorded_time_is_counted_back_from_the_newest_hour(store: Store, fill: Fill) -> None:
    fill(NOW, 725)
    fill(NOW + 100 * HOUR, 1445, begins=Break(NOW + HOUR, "stopped"))
    roll_up_all(store)
    assert store.recorded_since(HOUR) == NOW + 101 * HOUR
    assert store.recorded_since(3 * HOUR) == NOW
    assert store.recorded_since(4 * HOUR) == 0
