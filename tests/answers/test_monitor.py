import itertools
import math
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from service.analysis.averages import percentile
from service.answers.gaps import Gap
from service.answers.monitor import ResourceMonitor
from service.answers.peaks import LEAST_PROMINENCE_PERCENT, Peak
from service.clock import DAY, HOUR, MINUTE, Instant
from service.config import Settings
from service.errors import BadParameter, HistoryUnreadable
from service.metrics import HEADLINES
from service.records import Break, Sample
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, settings_for


def at(clock: FakeClock, ts: int) -> None:
    clock.wall = float(ts)


def hump(*centres: int) -> Callable[[int], float]:
    """CPU by minute: 10, and up to 70 around each centre."""
    return lambda i: 10 + 60 * max(math.exp(-(((i - centre) / 20) ** 2)) for centre in centres)


def test_current_usage_is_the_newest_sample(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW, 2, cpu_percent=45.24, memory_percent=62.06, disk_percent=None, load_1=1.234, process_count=156,
         network_sent_bytes=1024000, network_received_bytes=2048000)  # fmt: skip
    assert monitor.get_current_usage() == {
        "cpu_percent": 45.2,
        "memory_percent": 62.1,
        "disk_percent": None,
        "network_io": {"bytes_sent": 1024000, "bytes_recv": 2048000},
        "process_count": 156,
        "load_average": [1.23, None, None],
    }


def test_averages_are_over_the_last_hour_and_weighted(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW - 7200, 720, cpu_percent=99)
    fill(NOW - 3600, 12, interval=60, begins=Break(NOW - 3605, None), cpu_percent=50)
    fill(NOW - 2880, 576, begins=Break(NOW - 2940, None), cpu_percent=10)
    trends = monitor.get_usage_trends()
    # the window ends with the newest sample, so its first hour-old second still has five of the hundredth-weight rows
    assert trends["average_cpu_last_hour"] == pytest.approx((12 * 60 * 50 + 576 * 5 * 10) / 3600, abs=0.3)


def test_trend_words_need_ten_recorded_minutes(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW, 100, cpu_percent=5)
    assert monitor.get_usage_trends()["cpu_trend"] == "unknown"


def test_a_rise_is_called_increasing_and_a_flat_hour_stable(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW, 720, memory_percent=lambda i: 40 + i / 60 + i % 3 / 10, disk_percent=50, cpu_percent=lambda i: i % 7)
    trends = monitor.get_usage_trends()
    assert (trends["memory_trend"], trends["disk_trend"], trends["cpu_trend"]) == ("increasing", "stable", "stable")


def test_trend_words_of_any_metric_are_those_of_the_answer_and_the_summary(
    monitor: ResourceMonitor, clock: FakeClock, fill: Fill
) -> None:
    fill(
        NOW, 720, memory_percent=lambda i: 40 + i / 60 + i % 3 / 10, process_count=lambda i: 90 - i / 20, disk_percent=5
    )
    at(clock, NOW + 3595)
    words = monitor.status().words
    assert words["memory_percent"] == monitor.get_usage_trends()["memory_trend"] == "increasing"
    found = monitor.summary().metrics
    assert words == {name: found[name].trend.word for name in words}
    assert words["process_count"] == "decreasing"


def test_the_course_of_peaks_has_each_of_them_in_its_bucket(
    monitor: ResourceMonitor, clock: FakeClock, fill: Fill
) -> None:
    fill(NOW - 20 * HOUR, 20 * 60, interval=60, cpu_percent=hump(300, 900))
    at(clock, NOW)
    answer, course = monitor.peaks_and_course()
    found = answer.peaks
    assert (len(course.averages), course.step) == (48, 1800)
    assert len(found) == 2
    for peak in found:
        bucket = (peak.start - course.start) // course.step
        assert round(course.averages[bucket], 2) == peak.average


def test_the_history_begins_with_its_first_sample(monitor: ResourceMonitor, fill: Fill) -> None:
    assert monitor.oldest() is None
    fill(NOW, 3, cpu_percent=1)
    assert monitor.oldest() == NOW


@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_between_answers_never_shows(
    history: History, store: Store, settings: Settings, clock: FakeClock, seed: int
) -> None:
    def peaks(monitor: ResourceMonitor) -> list[Peak]:
        at(clock, end)
        return monitor.peaks("cpu_percent", DAY, 20).peaks

    chance, keeping, end = random.Random(seed), ResourceMonitor(history, settings, clock), NOW
    begins: Break | None = Break(None, None)
    for _ in range(60):
        kind = chance.choice(["on", "on", "on", "back", "gap", "roll up", "prune"])
        if kind in ("roll up", "prune"):
            while store.roll_up() if kind == "roll up" else store.prune(end - HOUR, end - 20 * HOUR, 0):
                pass
        else:
            if kind != "on":
                begins = Break(end, "clock_step")
                end += chance.randrange(chance.choice([HOUR, 5 * HOUR])) * (-1 if kind == "back" else 1)
            for _ in range(chance.randrange(1, 80)):
                end += 60
                store.append([Sample(end, 60.0, {"cpu_percent": chance.randrange(100)}, begins)])
                begins = None
        assert peaks(keeping) == peaks(ResourceMonitor(history, settings, clock))


def test_a_sample_that_is_stored_late_still_shows_in_its_bucket(
    monitor: ResourceMonitor, store: Store, clock: FakeClock, fill: Fill
) -> None:
    border = NOW // 1800 * 1800
    fill(border - 3600, 700, cpu_percent=10)
    at(clock, border + 10)
    before = monitor.peaks().peaks
    store.append([Sample(border - 5, 5.0, {"cpu_percent": 100.0}, None)])
    assert monitor.peaks().peaks != before


def test_a_clock_set_back_into_what_is_kept_shows(
    history: History, store: Store, settings: Settings, clock: FakeClock, fill: Fill
) -> None:
    border = NOW // 1800 * 1800
    keeping = ResourceMonitor(history, settings, clock)
    fill(border - 3600, 840, cpu_percent=10)
    at(clock, border + 660)
    before = keeping.peaks()
    fill(border - 9000, 1930, cpu_percent=lambda i: 90 if i < 360 else 10)
    assert keeping.peaks() == ResourceMonitor(history, settings, clock).peaks() != before


def test_a_sample_that_waits_shows_in_its_bucket(
    path: Path, store: Store, settings: Settings, clock: FakeClock, fill: Fill
) -> None:
    border = NOW // 1800 * 1800
    fill(border - 3600, 722, cpu_percent=10)
    waiting: list[Sample] = []
    history = History(path, waiting=lambda: waiting)
    monitor = ResourceMonitor(history, settings, clock)
    at(clock, border + 10)
    before = monitor.peaks().peaks
    waiting.append(Sample(border - 2, 5.0, {"cpu_percent": 100.0}, Break(border - 10, None)))
    assert monitor.peaks().peaks != before
    history.close()


def test_peaks_are_told_by_the_clock_of_the_zone(
    history: History, store: Store, path, clock: FakeClock, fill: Fill
) -> None:  # type: ignore[no-untyped-def]
    fill(NOW - 20 * HOUR, 20 * 60, interval=60, cpu_percent=hump(300, 900))
    while store.roll_up():
        pass
    labels = {}
    for zone in ("UTC", "Asia/Kolkata"):
        monitor = ResourceMonitor(history, settings_for(path, analysis__timezone=zone), clock)
        labels[zone] = monitor.get_usage_trends()["peak_usage_times"]
    # 14:00 UTC on the day before, minus 20 h + 300 min and + 900 min: 19:00 and 05:00
    assert labels["UTC"] in (["18:30", "04:30"], ["19:00", "05:00"])
    assert labels["Asia/Kolkata"] in (["00:00", "10:00"], ["00:30", "10:30"])


@pytest.mark.parametrize(
    ("now", "first", "second"),
    [
        # Europe/Berlin: clocks go from 02:00 to 03:00 on 2026-03-29 (23 hours), from 03:00 to 02:00 on 2026-10-25 (25)
        ("2026-03-29T20:00:00+00:00", "2026-03-29T00:30:00+00:00", "2026-03-29T01:30:00+00:00"),
        ("2026-10-25T20:00:00+00:00", "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"),
    ],
)
def test_labels_are_right_on_days_of_23_and_25_hours(  # type: ignore[no-untyped-def]
    history: History, path, clock: FakeClock, fill: Fill, now: str, first: str, second: str
) -> None:
    end, one, two = (int(datetime.fromisoformat(text).timestamp()) for text in (now, first, second))
    for ts in (one, two):
        fill(ts, 30, interval=60, begins=Break(ts - 60, "stopped"), cpu_percent=80)
    fill(end - 60, 2, interval=30, begins=Break(two, "stopped"), cpu_percent=5)
    at(clock, end)
    monitor = ResourceMonitor(history, settings_for(path, analysis__timezone="Europe/Berlin"), clock)
    peaks = monitor.peaks(count=20).peaks
    from zoneinfo import ZoneInfo

    for peak in peaks:
        local = datetime.fromisoformat(monitor.write(peak.start))
        assert local.utcoffset() == datetime.fromtimestamp(local.timestamp(), ZoneInfo("Europe/Berlin")).utcoffset()
        comes_twice = (local.month, local.hour) == (10, 2)
        assert monitor.write(peak.label) == local.strftime("%H:%M") + (local.isoformat()[-6:] if comes_twice else "")
        assert local.minute in (0, 30)
    assert any(peak.start == one for peak in peaks)


def test_a_window_with_records_always_has_a_peak_and_one_without_none(monitor: ResourceMonitor, fill: Fill) -> None:
    assert_empty = monitor.peaks()
    assert assert_empty.peaks == []
    fill(NOW - 100, 3, cpu_percent=1)
    assert len(monitor.peaks().peaks) == 1


def test_answers_are_the_same_after_a_restart(monitor: ResourceMonitor, path, clock: FakeClock, fill: Fill) -> None:  # type: ignore[no-untyped-def]
    fill(NOW, 800, cpu_percent=lambda i: i % 60, memory_percent=30)
    again = ResourceMonitor(History(path), settings_for(path), clock)
    assert again.get_usage_trends() == monitor.get_usage_trends()
    assert again.get_current_usage() == monitor.get_current_usage()


def test_an_answer_is_computed_once_per_stored_sample(
    history: History, settings, clock: FakeClock, store: Store, fill: Fill
) -> None:  # type: ignore[no-untyped-def]
    fill(NOW, 1, cpu_percent=1)
    monitor = ResourceMonitor(history, settings, clock, lambda: store.version)
    first = monitor.snapshot()
    assert monitor.snapshot() is first
    fill(NOW + 5, 1, begins=Break(NOW, None), cpu_percent=2)
    assert monitor.snapshot().usage.current_usage.cpu_percent == 2.0


def test_an_empty_history_cannot_be_told(monitor: ResourceMonitor) -> None:
    with pytest.raises(HistoryUnreadable, match="no sample"):
        monitor.get_current_usage()


def test_a_summary_tells_every_metric(monitor: ResourceMonitor, clock: FakeClock, fill: Fill) -> None:
    fill(NOW - 3600, 720, cpu_percent=lambda i: i % 100, disk_read_bytes=lambda i: i * 500, load_1=None)
    at(clock, NOW - 1)
    answer = monitor.summary()
    assert list(answer.metrics) == [metric.name for metric in HEADLINES]
    cpu = answer.metrics["cpu_percent"]
    expected = [i % 100 for i in range(720)]
    assert (cpu.average, cpu.minimum, cpu.maximum) == (round(sum(expected) / 720, 2), 0.0, 99.0)
    assert cpu.p95 == sorted(expected)[math.ceil(0.95 * 720) - 1]
    assert monitor.write(cpu.maximum_at) == "2026-01-05T09:08:15Z"
    assert answer.metrics["disk_read_bytes"].average == 100.0
    assert answer.metrics["load_1"].average is None
    assert answer.coverage == 1.0


def test_a_percentile_is_of_each_sample_where_a_clock_step_put_two_into_one_second(
    monitor: ResourceMonitor, clock: FakeClock, fill: Fill
) -> None:
    first = [float(i) for i in range(100)]
    second = [99.5 - i for i in range(100)]
    fill(NOW, 100, interval=1, cpu_percent=lambda i: first[i], network_sent_bytes=lambda i: 10 * i * i)
    step = Break(NOW, "clock_step")
    fill(NOW, 100, interval=1, begins=step, cpu_percent=lambda i: second[i], network_sent_bytes=lambda i: 30 * i)
    clock.pass_seconds(100)
    metrics = monitor.summary(HOUR).metrics
    assert metrics["cpu_percent"].p95 == sorted(first + second)[189]
    rates = sorted([10 * (2 * i - 1) for i in range(1, 100)] + [30] * 99)
    assert metrics["network_sent_bytes"].p95 == rates[math.ceil(0.95 * 198) - 1]


def test_a_percentile_is_right_where_samples_cover_unequal_time(
    monitor: ResourceMonitor, store: Store, clock: FakeClock
) -> None:
    """The last twentieth of the time is then far more than a twentieth of the samples."""
    values = [float(i % 100) for i in range(2000)]
    covered = [0.1 if value >= 50 else 5.0 for value in values]
    store.append(
        [
            Sample(NOW + i, covered[i], {"cpu_percent": values[i]}, Break(None, None) if i == 0 else None)
            for i in range(2000)
        ]
    )
    clock.pass_seconds(2000)
    assert monitor.summary(HOUR).metrics["cpu_percent"].p95 == percentile(values, covered, 0.95)


@pytest.mark.parametrize("window", [MINUTE, HOUR, 5 * HOUR, 3 * DAY, 40 * DAY, 900 * DAY])
def test_summaries_of_any_window_agree_on_a_constant(
    monitor: ResourceMonitor, clock: FakeClock, store: Store, fill: Fill, window: int
) -> None:
    fill(NOW - 7200, 1440, cpu_percent=33.33)
    while store.roll_up():
        pass
    at(clock, NOW - 1)
    cpu = monitor.summary(window).metrics["cpu_percent"]
    assert (cpu.average, cpu.minimum, cpu.maximum, cpu.p95) == (33.33,) * 4


def test_a_series_has_even_buckets_that_hold_the_window(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW, 720, cpu_percent=lambda i: i % 10)
    answer = monitor.series(["cpu_percent", "disk_read_bytes"], NOW + 7, NOW + 3003, points=100)
    ts = answer.ts
    assert len(ts) <= 100
    assert ts[0] <= NOW + 7
    assert ts[-1] + answer.step >= NOW + 3003
    assert {b - a for a, b in itertools.pairwise(ts)} == {answer.step}
    assert all(
        len(column) == len(ts)
        for column in (answer.series["cpu_percent"].average, answer.series["cpu_percent"].maximum)
    )


@pytest.mark.parametrize(("seconds", "source"), [(HOUR, "samples"), (DAY, "minutes"), (60 * DAY, "hours")])
def test_a_series_is_read_from_the_coarsest_tier_that_serves(
    monitor: ResourceMonitor, store: Store, fill: Fill, seconds: int, source: str
) -> None:
    fill(NOW - 7200, 1440, cpu_percent=1)
    while store.roll_up():
        pass
    assert monitor.series(["cpu_percent"], NOW - seconds, NOW, points=600).source == source


def test_a_burst_shows_in_the_maximum_at_every_resolution(monitor: ResourceMonitor, store: Store, fill: Fill) -> None:
    fill(NOW - 36000, 7200, cpu_percent=lambda i: 98.76 if i == 1234 else 2)
    while store.roll_up():
        pass
    for points in (2, 10, 100, 1000, 5000):
        column = monitor.series(["cpu_percent"], NOW - 36000, NOW, points).series["cpu_percent"].maximum
        assert max(value for value in column if value is not None) == 98.76


def test_samples_of_a_longer_interval_leave_no_nulls_between_them(monitor: ResourceMonitor, path, fill: Fill) -> None:  # type: ignore[no-untyped-def]
    del fill
    slow = Store(path)
    slow.open()
    slow.begin_run(NOW, None, None, "0.1.0", 30)
    from service.records import Sample

    slow.append(
        [Sample(NOW + i * 30, 30.0, {"cpu_percent": 5}, Break(None, None) if i == 0 else None) for i in range(60)]
    )
    slow.close()
    answer = monitor.series(["cpu_percent"], NOW, NOW + 1800, points=2000)
    assert None not in answer.series["cpu_percent"].average


def test_a_mixed_interval_does_not_skew_the_average(monitor: ResourceMonitor, clock: FakeClock, fill: Fill) -> None:
    fill(NOW - 3600, 30, interval=60, cpu_percent=80)
    fill(NOW - 1800, 1800, interval=1, begins=Break(NOW - 1860, None), cpu_percent=20)
    at(clock, NOW - 1)
    assert monitor.summary().metrics["cpu_percent"].average == 50.0


def test_a_start_after_the_end_is_refused(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW, 1)
    with pytest.raises(BadParameter, match="start"):
        monitor.series(["cpu_percent"], NOW, NOW)


@pytest.mark.parametrize(("clean", "reason"), [(True, "stopped"), (False, "killed")])
def test_a_gap_that_is_still_open_is_told(
    monitor: ResourceMonitor, store: Store, clock: FakeClock, fill: Fill, clean: bool, reason: str
) -> None:
    fill(NOW, 3)
    if clean:
        store.end_run(NOW + 11)
    at(clock, NOW + 1000)
    assert monitor.gaps(NOW, NOW + 1000).gaps == [Gap(start=NOW + 10, end=NOW + 1000, seconds=990, reason=reason)]


def test_times_are_written_in_the_zone_with_its_offset(history: History, path, clock: FakeClock, fill: Fill) -> None:  # type: ignore[no-untyped-def]
    fill(NOW, 1)
    monitor = ResourceMonitor(history, settings_for(path, analysis__timezone="Asia/Kolkata"), clock)
    assert monitor.snapshot().usage.timestamp == NOW
    assert monitor.write(monitor.snapshot().usage.timestamp) == "2026-01-05T15:30:00+05:30"


@pytest.mark.parametrize("points", [1, 2, 3, 10])
def test_a_series_never_has_more_points_than_asked_for(monitor: ResourceMonitor, fill: Fill, points: int) -> None:
    fill(NOW, 720)
    for start, end in ((NOW + 7, NOW + 3000), (NOW - 400 * DAY, NOW + 5), (NOW - 1, NOW + 1)):
        assert 1 <= len(monitor.series(["cpu_percent"], start, end, points).ts) <= points


def test_gaps_of_a_window_that_ends_before_it_starts_are_refused(monitor: ResourceMonitor, fill: Fill) -> None:
    fill(NOW, 1)
    with pytest.raises(BadParameter, match="start"):
        monitor.gaps(NOW, NOW - 5)


def test_peaks_and_the_course_that_they_stand_out_from_are_of_one_moment(
    history: History, settings: Settings, fill: Fill
) -> None:
    """Also where a bucket ends while they are asked for: each asking of this clock is half an hour later."""

    class Hurrying(FakeClock):
        def now(self) -> Instant:
            self.pass_seconds(1800)
            return super().now()

    fill(NOW - 20 * HOUR, 20 * 60, interval=60, cpu_percent=hump(300, 900))
    answer, course = ResourceMonitor(history, settings, Hurrying()).peaks_and_course()
    assert answer.start == course.start
    for peak in answer.peaks:
        assert course.averages[(peak.start - course.start) // course.step] == pytest.approx(peak.average, abs=0.005)


def test_the_highest_bucket_of_a_level_day_is_listed_and_does_not_stand_out(
    monitor: ResourceMonitor, clock: FakeClock, fill: Fill
) -> None:
    fill(NOW, 1440, interval=60, cpu_percent=lambda i: 20 + (i // 30) % 7 / 10, memory_percent=hump(700))
    at(clock, NOW + DAY)
    (level,) = monitor.peaks("cpu_percent").peaks
    (high,) = monitor.peaks("memory_percent").peaks
    assert level.prominence is not None
    assert high.prominence is not None
    assert 0 < level.prominence < LEAST_PROMINENCE_PERCENT < 40 < high.prominence
