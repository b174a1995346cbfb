"""The history made smaller: a rollup says what its samples say, once; pruning takes only what is rolled up."""

import sqlite3
from pathlib import Path

import pytest

from service.clock import DAY, HOUR, MINUTE
from service.records import Break, Sample
from service.store import rollups
from service.store.writer import Store
from tests.conftest import NOW, Fill
from tests.running import query


def roll_up_all(store: Store) -> None:
    while store.roll_up():
        pass


def test_a_minute_is_rolled_up_once_a_sample_lies_after_it(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 12, cpu_percent=lambda i: i)
    roll_up_all(store)
    assert query(path, "SELECT * FROM minutes") == []
    store.append([Sample(NOW + 60, 5.0, {"cpu_percent": 99})])
    roll_up_all(store)
    assert query(
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
    assert query(path, "SELECT cpu_percent FROM minutes") == [(75.0,)]


def test_an_unknown_value_weighs_nothing(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 13, cpu_percent=lambda i: 40 if i < 3 else None, swap_percent=None)
    roll_up_all(store)
    assert query(path, "SELECT cpu_percent, swap_percent, swap_percent_max FROM minutes") == [(40.0, None, None)]
    assert query(path, "SELECT partial FROM minute") == [('{"cpu_percent":15000}',)]


def test_increases_count_what_was_seen_across_a_reset_and_a_gap(store: Store, path: Path, fill: Fill) -> None:
    counts = [100, 200, 50, 80]  # reset to 50: what came before the reset is not known
    fill(NOW, 4, network_sent_bytes=lambda i: counts[i])
    fill(NOW + 40, 2, begins=Break(NOW + 15, "killed"), network_sent_bytes=lambda i: 1000 + i)
    store.append([Sample(NOW + 60, 5.0, {})])
    roll_up_all(store)
    assert query(path, "SELECT network_sent_bytes_increase FROM minutes") == [(100 + 30 + 1,)]


def test_an_increase_over_the_border_of_a_minute_is_the_later_minutes(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 25, network_sent_bytes=lambda i: i * 10)
    roll_up_all(store)
    assert query(path, "SELECT network_sent_bytes_increase FROM minutes") == [(110,), (120,)]


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
    assert query(path, "SELECT disk_read_bytes_increase FROM minutes") == [(None,), (7,), (7,)]


def test_rolling_up_twice_is_rolling_up_once(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 2000, cpu_percent=lambda i: i % 100)
    roll_up_all(store)
    before = query(path, "SELECT * FROM minutes UNION ALL SELECT * FROM hours")
    query(path, "SELECT 1")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE progress SET minutes_until = 0, hours_until = 0")
    connection.commit()
    connection.close()
    again = Store(path)
    again.open()
    roll_up_all(again)
    again.close()
    assert query(path, "SELECT * FROM minutes UNION ALL SELECT * FROM hours") == before


def test_hours_follow_from_minutes(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 730, cpu_percent=lambda i: 10 if i < 360 else 30)
    roll_up_all(store)
    assert query(path, "SELECT ts, samples, covered_seconds, cpu_percent, cpu_percent_max FROM hours") == [
        (NOW, 720, 3600.0, 20.0, 30.0)
    ]


def test_a_clock_set_back_rolls_up_again_what_it_touches(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 25, cpu_percent=10)
    roll_up_all(store)
    fill(NOW + 30, 3, begins=Break(NOW + 120, "clock_step"), cpu_percent=50)
    roll_up_all(store)
    assert query(path, "SELECT samples, cpu_percent FROM minutes WHERE ts = " + str(NOW)) == [(15, 18.0)]


def test_a_burst_shows_in_the_maximum_of_the_hour(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 725, cpu_percent=lambda i: 97.5 if i == 300 else 1, disk_read_bytes=lambda i: 5_000_000 * (i > 300))
    roll_up_all(store)
    assert query(path, "SELECT cpu_percent_max FROM hours") == [(97.5,)]
    assert query(path, "SELECT disk_read_bytes_rate_max FROM hour") == [(1_000_000,)]


def test_pruning_takes_only_what_is_rolled_up(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1000)
    while store.prune(NOW + 10**6, NOW, NOW):
        pass
    assert query(path, "SELECT count(*) FROM sample") == [(1000,)]
    roll_up_all(store)
    while store.prune(NOW + 10**6, NOW, NOW):
        pass
    assert query(path, "SELECT min(ts) FROM sample") == [(NOW + HOUR,)]
    assert query(path, "SELECT samples_from FROM progress") == [(NOW + HOUR,)]


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
    assert query(path, f"SELECT samples, cpu_percent FROM minutes WHERE ts = {NOW + 5 * MINUTE}") == [(12, 10.0)]


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


def test_minutes_wait_until_their_hour_is_made(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 719, cpu_percent=10)
    roll_up_all(store)
    while store.prune(0, NOW + 10**6, 0):
        pass
    assert query(path, "SELECT count(*) FROM minutes") == [(59,)]
    store.append([Sample(NOW + HOUR - 5, 5.0, {"cpu_percent": 10}), Sample(NOW + HOUR, 5.0, {})])
    roll_up_all(store)
    while store.prune(0, NOW + 10**6, 0):
        pass
    assert query(path, "SELECT ts, samples FROM hours") == [(NOW, 720)]
    assert query(path, "SELECT count(*) FROM minute") == [(0,)]
    assert query(path, "SELECT minutes_from FROM progress") == [(NOW + HOUR,)]


def test_each_tier_is_deleted_up_to_its_limit_and_not_at_it(store: Store, path: Path, fill: Fill) -> None:
    start = NOW // DAY * DAY
    fill(start, DAY // 60 + 240, interval=60)
    roll_up_all(store)
    while store.prune(start + 3 * HOUR, start + 2 * HOUR, start + HOUR):
        pass
    first = "SELECT (SELECT min(ts) FROM sample), (SELECT min(ts) FROM minute), (SELECT min(ts) FROM hour)"
    assert query(path, first) == [(start + 3 * HOUR, start + 2 * HOUR, start + HOUR)]
    assert query(path, "SELECT samples_from, minutes_from FROM progress") == [(start + 3 * HOUR, start + 2 * HOUR)]


def test_an_hour_stays_until_its_day_is_made_of_it(store: Store, path: Path, fill: Fill) -> None:
    start = NOW // DAY * DAY
    fill(start, DAY // 60 + 240, interval=60)
    roll_up_all(store)
    after = start + 2 * DAY
    while store.prune(after, after, after):
        pass
    assert query(path, "SELECT min(ts) FROM hour") == [(start + DAY,)]


def test_samples_and_minutes_go_by_whole_hours_only(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3 * 720 + 1)
    roll_up_all(store)
    while store.prune(NOW + 2 * HOUR - 1, NOW + 2 * HOUR - 1, 0):
        pass
    assert query(path, "SELECT (SELECT min(ts) FROM sample), (SELECT min(ts) FROM minute)") == [(NOW + HOUR,) * 2]


def test_an_hour_in_which_pruning_stands_does_not_count_as_whole(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3 * 720 + 1)
    roll_up_all(store)
    assert store.prune(NOW + 3 * HOUR, 0, 0)
    first = query(path, "SELECT min(ts) FROM sample")[0][0]
    assert NOW + 2 * HOUR < first < NOW + 3 * HOUR
    assert query(path, "SELECT samples_from FROM progress") == [(NOW + 3 * HOUR,)]


def test_two_samples_of_one_second_are_both_in_their_minute(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 2, cpu_percent=10)
    store.append([Sample(NOW + 5, 5.0, {"cpu_percent": 40}, Break(NOW + 5, None)), Sample(NOW + 60, 5.0, {})])
    roll_up_all(store)
    assert query(path, "SELECT samples, covered_seconds, cpu_percent FROM minutes") == [(3, 15.0, 20.0)]


def test_a_minute_whose_samples_are_the_first_that_are_left_is_rolled_up_again(
    store: Store, path: Path, fill: Fill
) -> None:
    """The border of the test above: the first minute that is whole is written anew, the last one that is not stays."""
    fill(NOW, 1500, cpu_percent=10)
    roll_up_all(store)
    while store.prune(NOW + HOUR, 0, 0):
        pass
    for start in (NOW + HOUR - MINUTE, NOW + HOUR):
        fill(start, 12, begins=Break(NOW + 7500, "clock_step"), cpu_percent=90)
    roll_up_all(store)
    around = f"SELECT samples, cpu_percent FROM minutes WHERE ts IN ({NOW + HOUR - MINUTE}, {NOW + HOUR})"
    assert query(path, around) == [(12, 10.0), (24, 50.0)]


def test_an_empty_history_has_nothing_to_roll_up_prune_or_shrink(store: Store) -> None:
    assert [store.roll_up(), store.prune(NOW, NOW, NOW), store.shrink()] == [False] * 3
    assert (store.oldest(), store.recorded_since(HOUR)) == ((None, None, None), 0)


def test_the_oldest_of_each_tier_is_known(store: Store, fill: Fill) -> None:
    fill(NOW + 5, 1445)
    roll_up_all(store)
    assert store.oldest() == (NOW + 5, NOW, NOW)


def test_what_is_used_is_the_file_without_its_free_pages(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 5000, cpu_percent=1)
    roll_up_all(store)
    (pages,), (page_bytes,) = query(path, "PRAGMA page_count")[0], query(path, "PRAGMA page_size")[0]
    assert store.used_bytes() == pages * page_bytes
    while store.prune(NOW + 10**6, 0, 0):
        pass
    (free,) = query(path, "PRAGMA freelist_count")[0]
    assert free > 0
    assert store.used_bytes() == (pages - free) * page_bytes


def test_no_step_deletes_more_than_its_rows_by_more_than_an_hour(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 8000)
    roll_up_all(store)
    before = 8000
    while more := store.prune(NOW + 10**6, 0, 0):
        left = query(path, "SELECT count(*) FROM sample")[0][0]
        assert 0 < before - left <= rollups.PRUNE_ROWS
        before = left
    assert more is False


def test_no_step_gives_back_more_pages_than_it_may(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 20_000, cpu_percent=1, disk_read_bytes=2**40)
    roll_up_all(store)
    while store.prune(NOW + 10**6, 0, 0):
        pass
    (free,) = query(path, "PRAGMA freelist_count")[0]
    assert store.shrink() is True
    assert query(path, "PRAGMA freelist_count") == [(free - rollups.VACUUM_PAGES,)]


def test_recorded_time_counts_what_was_covered_and_not_how_often(store: Store, path: Path) -> None:
    """An hour of which half was recorded is half an hour."""
    samples = [Sample(NOW + 10 * n, 5.0, {}, None if n else Break(None, None)) for n in range(721)]
    store.append(samples)
    roll_up_all(store)
    assert store.recorded_since(1800) == NOW + HOUR
    assert store.recorded_since(1801) == NOW
    assert store.recorded_since(3601) == 0


def test_a_clock_set_back_has_each_tier_rolled_up_again_from_the_bucket_it_touches(
    store: Store, path: Path, fill: Fill
) -> None:
    fill(NOW, 3 * 720 + 1)
    roll_up_all(store)
    fill(NOW + HOUR + 100, 1, begins=Break(NOW + 3 * HOUR, "clock_step"))
    assert query(path, "SELECT minutes_until, hours_until FROM progress") == [(NOW + HOUR + 60, NOW + HOUR)]


def test_a_minute_of_more_samples_than_a_step_takes_is_rolled_up_all_the_same(
    store: Store, path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "ROLLUP_ROWS", 5)
    fill(NOW, 25, cpu_percent=lambda i: i)
    assert [store.roll_up() for _ in range(20)][-1] is False
    assert query(path, "SELECT ts, samples FROM minutes") == [(NOW, 12), (NOW + MINUTE, 12)]
