"""The SQL of a change gives the figures of its two windows: from samples, captures and rows, or from what is made of
them, and of what lies in a window alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.metrics import BY_NAME
from service.records import Break, Sample, ServiceUsage
from service.store import change_sql, usage_rollups
from service.store.change_sql import Window
from service.store.reader import History
from service.store.tiers import RollupProgress
from service.store.usages import By
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record
from tests.running import query
from tests.store.conftest import Devices

Figures = tuple[float | None, float | None]
Figured = Callable[..., Figures]
HOSTILE = "it's {x} {start} ''"
# All is kept as it was recorded.
WHOLE = RollupProgress(minutes_until=0, hours_until=0, days_until=0, samples_from=0, minutes_from=0)


def figures(path: Path, sql: str) -> Figures:
    ((before, after),) = query(path, sql)
    return before, after


@pytest.fixture
def of_metric(path: Path) -> Figured:
    """Of two windows, by what is kept."""

    def of_metric(name: str, before: Window, after: Window, progress: RollupProgress = WHOLE) -> Figures:
        return figures(path, change_sql.of_metric(progress, BY_NAME[name], before, after))

    return of_metric


# -- metrics, from samples


def test_the_columns_are_before_and_after(store: Store, history: History) -> None:
    sql = change_sql.of_metric(WHOLE, BY_NAME["cpu_percent"], (NOW - 10, NOW), (NOW, NOW + 10))
    with history.view() as view:
        assert view.read(lambda statements: statements.table(sql)) == (["before", "after"], [(None, None)])


def test_a_gauge_is_weighted_by_the_time_in_which_it_was_known_from_the_start_on_and_before_the_end(
    store: Store, of_metric: Figured
) -> None:
    store.append(
        [
            Sample(NOW - 1, 5.0, {"cpu_percent": 1}, Break(None, None)),
            Sample(NOW, 10.0, {"cpu_percent": 20}),
            Sample(NOW + 5, 500.0, {}),
            Sample(NOW + 9, 30.0, {"cpu_percent": 60}),
            Sample(NOW + 10, 5.0, {"cpu_percent": 90}),
            Sample(NOW + 19, 15.0, {"cpu_percent": 10}),
            Sample(NOW + 20, 5.0, {"cpu_percent": 7}),
        ]
    )
    # (20 x 10 + 60 x 30) / 40 and (90 x 5 + 10 x 15) / 20
    assert of_metric("cpu_percent", (NOW, NOW + 10), (NOW + 10, NOW + 20)) == (50.0, 30.0)
    assert of_metric("cpu_percent", (NOW + 1, NOW + 9), (NOW + 20, NOW + 21)) == (None, 7.0)


def sent(store: Store, *samples: tuple[int, float, int | None]) -> None:
    """Samples of (seconds after NOW, seconds covered, total)."""
    store.append(
        [
            Sample(NOW + at, covered, {"network_sent_bytes": total}, Break(None, None) if number == 0 else None)
            for number, (at, covered, total) in enumerate(samples)
        ]
    )


def test_a_counter_is_what_it_grew_by_since_the_neighbour_which_may_lie_before_the_window(
    store: Store, of_metric: Figured
) -> None:
    sent(store, (-10, 10, 100), (0, 10, 400), (10, 10, 400), (20, 20, 1000), (30, 10, 1700))
    # (300 + 0) / 20 and (600 + 700) / 30
    assert of_metric("network_sent_bytes", (NOW, NOW + 11), (NOW + 20, NOW + 31)) == (15.0, pytest.approx(1300 / 30))
    assert of_metric("network_sent_bytes", (NOW - 10, NOW), (NOW + 30, NOW + 40)) == (None, 70.0)


def test_a_counter_that_was_reset_or_not_known_has_no_increase_and_its_time_does_not_count(
    store: Store, of_metric: Figured
) -> None:
    sent(store, (0, 10, 100), (10, 10, 99), (20, 10, None), (30, 10, 700), (40, 10, 900))
    assert of_metric("network_sent_bytes", (NOW, NOW + 40), (NOW, NOW + 41)) == (None, 20.0)


def test_there_is_no_increase_over_a_gap_of_twice_the_time_that_a_sample_covers_and_a_second(
    store: Store, of_metric: Figured
) -> None:
    sent(store, (0, 10, 0), (20, 10, 100), (41, 10, 100_000))
    assert of_metric("network_sent_bytes", (NOW + 20, NOW + 21), (NOW + 41, NOW + 42)) == (10.0, None)


def test_the_neighbour_of_the_first_sample_is_looked_for_in_the_two_hours_before_the_window(
    store: Store, of_metric: Figured
) -> None:
    sent(store, (0, 5, 0), (2 * HOUR, 2 * HOUR, 72_000))
    at = NOW + 2 * HOUR
    assert of_metric("network_sent_bytes", (at, at + 1), (at - 1, at + 1)) == (10.0, 10.0)
    sent(store, (DAY, 5, 0), (DAY + 2 * HOUR + 1, 2 * HOUR, 72_000))
    at += DAY + 1
    # Seen from a second earlier.
    assert of_metric("network_sent_bytes", (at, at + 1), (at - 1, at + 1)) == (None, 10.0)


# -- metrics, from minutes and hours

HALF = HOUR // 2


@pytest.fixture(scope="module")
def week() -> dict[str, object]:
    """A sample each half hour: 10, but 70 in the first of the hour at which windows begin, and 40 in the second."""
    rates = [70 if i == 2 else 40 if i == 3 else 10 for i in range(8 * 48)]
    totals = [sum(rates[: i + 1]) * HALF for i in range(len(rates))]
    return {"cpu_percent": lambda i: rates[i], "network_sent_bytes": lambda i: totals[i]}


@pytest.fixture
def half_hourly(store: Store, fill: Fill, week: dict[str, object]) -> None:
    store.begin_run(NOW, NOW - 1000, "boot-1", "0.1.0", HALF)
    fill(NOW + 30, 8 * 48, HALF, **week)
    while store.roll_up():
        pass


# Windows begin ten seconds after the hour: then the sample with 70 lies in them and its minute does not, the minute
# with 40 does and its hour does not.
START = NOW + HOUR + 10


@pytest.mark.parametrize("metric", ["cpu_percent", "network_sent_bytes"])
@pytest.mark.parametrize(
    ("seconds", "samples_from", "minutes_from", "tier"),
    [
        (6 * HOUR, 0, 0, "samples"),
        (6 * HOUR + 1, 0, 0, "minutes"),
        # From the start of the window before.
        (6 * HOUR, START - 200, 0, "samples"),
        (6 * HOUR, START - 199, 0, "minutes"),
        (6 * HOUR + 1, START - 199, START - 200, "minutes"),
        (6 * HOUR, START - 199, START - 199, "hours"),
        (6 * HOUR, START - 200, START - 199, "samples"),
        (7 * DAY, 0, 0, "minutes"),
        (7 * DAY, START, START - 200, "minutes"),
        (7 * DAY, START, START - 199, "hours"),
        (7 * DAY + 1, 0, 0, "hours"),
    ],
)
def test_long_windows_and_those_whose_samples_are_gone_are_read_from_minutes_or_hours(
    half_hourly: None,
    of_metric: Figured,
    metric: str,
    seconds: int,
    samples_from: int,
    minutes_from: int,
    tier: str,
) -> None:
    progress = RollupProgress(0, 0, 0, samples_from=samples_from, minutes_from=minutes_from)
    count = seconds // HALF
    expected = {"samples": 10 + 90 / count, "minutes": 10 + 30 / count, "hours": 10}[tier]
    _, after = of_metric(metric, (START - 200, START - 100), (START, START + seconds), progress)
    assert after == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", ["cpu_percent", "network_sent_bytes"])
def test_minutes_and_hours_are_those_that_begin_in_the_window(
    half_hourly: None, of_metric: Figured, metric: str
) -> None:
    hour = NOW + HOUR
    minutes = RollupProgress(0, 0, 0, samples_from=NOW + DAY, minutes_from=0)
    assert of_metric(metric, (hour, hour + 1), (hour + 1, hour + HALF), minutes) == (70.0, None)
    assert of_metric(metric, (hour, hour + HALF), (hour, hour + HALF + 1), minutes) == (70.0, 55.0)
    hours = RollupProgress(0, 0, 0, samples_from=NOW + DAY, minutes_from=NOW + DAY)
    assert of_metric(metric, (hour, hour + 1), (hour + 1, hour + HOUR), hours) == (55.0, None)
    assert of_metric(metric, (hour, hour + HOUR), (hour, hour + HOUR + 1), hours) == (55.0, 32.5)


def test_of_minutes_only_those_in_which_the_metric_was_known_count(store: Store, of_metric: Figured) -> None:
    store.append(
        [
            Sample(NOW + 10, 10.0, {"cpu_percent": 20, "network_sent_bytes": 0}, Break(None, None)),
            Sample(NOW + 20, 10.0, {"cpu_percent": 20, "network_sent_bytes": 1000}),
            Sample(NOW + 65, 30.0, {}),
            Sample(NOW + 125, 60.0, {"cpu_percent": 55}),
            Sample(NOW + 185, 5.0, {}),
        ]
    )
    while store.roll_up():
        pass
    minutes = RollupProgress(0, 0, 0, samples_from=NOW + DAY, minutes_from=0)
    # (20 x 20 + 55 x 60) / 80, and 1000 / 20
    assert of_metric("cpu_percent", (NOW, NOW + 60), (NOW, NOW + 180), minutes) == (20.0, 46.25)
    assert of_metric("network_sent_bytes", (NOW + 60, NOW + 120), (NOW, NOW + 180), minutes) == (None, 50.0)


# -- names and services

# The middle of the first capture after them is the start of a window of two hours, that of another its end.
FROM = NOW + 3 * HOUR + 300
MB = 1024**2


def percent_at(middle: int) -> int:
    """10 %, but 50 % at FROM and 90 % two hours later; before FROM each second capture is without them."""
    if middle < FROM:
        return 10 if (middle + 300) // 600 % 2 == 0 else 0
    return {FROM: 50, FROM + 2 * HOUR: 90}.get(middle, 10)


@pytest.fixture
def used(store: Store, record: Record) -> None:
    """A capture each ten minutes, of four CPUs, in which a name uses so many percent and as many MB, and a service of
    the same name half of it."""
    for ts in range(NOW + 600, NOW + 9 * HOUR, 600):
        percent = percent_at(ts - 300)
        cpu, memory = percent / 100 * 2400, percent * MB
        service = [ServiceUsage(HOSTILE, "service", cpu / 2, memory // 2, None, None, 0)] if percent else []
        others = ServiceUsage("other.service", "service", 24.0, 200 * MB, None, None, 0)
        uses = [(HOSTILE, 7, cpu, memory)] if percent else []
        record(ts, 2000.0, *uses, ("other", 8, 1200.0, 400 * MB), covered=600, services=[*service, others])
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass


@pytest.fixture
def of_user(path: Path, used: None) -> Figured:
    def of_user(by: By, unit: str, before: Window, after: Window, name: str = HOSTILE) -> Figures:
        return figures(path, change_sql.of_user(by, name, unit, before, after))

    return of_user


@pytest.mark.parametrize(("by", "share"), [("name", 1.0), ("service", 0.5)])
def test_windows_of_two_hours_are_read_from_the_captures_whose_middle_lies_in_them(
    of_user: Figured, by: By, share: float
) -> None:
    before, after = (FROM - 2 * HOUR, FROM), (FROM, FROM + 2 * HOUR)
    # Of 12 captures 6 with 10 %; one with 50 % and 11 with 10 %.
    shares = of_user(by, "percent", before, after)
    assert shares == (pytest.approx(5 * share), pytest.approx(160 / 12 * share))
    assert of_user(by, "bytes", before, after) == (10 * MB * share, 50 * MB * share)
    # A second beside them.
    assert of_user(by, "bytes", (FROM + 1, FROM + 2 * HOUR), (FROM + 1, FROM + 2 * HOUR + 1)) == (
        10 * MB * share, 90 * MB * share
    )  # fmt: skip
    late = of_user(by, "percent", (FROM - 600, FROM + 1), (FROM + 1, FROM + 2 * HOUR + 1))
    assert late == (pytest.approx((percent_at(FROM - 600) + 50) / 2 * share), pytest.approx(200 / 12 * share))


@pytest.mark.parametrize(("by", "share"), [("name", 1.0), ("service", 0.5)])
def test_longer_windows_are_read_from_the_hours_that_begin_in_them(of_user: Figured, by: By, share: float) -> None:
    before, after = (FROM - 2 * HOUR - 1, FROM), (FROM, FROM + 2 * HOUR + 1)
    # The hours 2 h and 3 h after NOW: of the 6 captures of the second the first, whose middle is FROM, has 50 %, the
    # others 10 %. Those 4 h and 5 h after it: one of 12 captures has 90 %.
    first = [percent_at(NOW + 2 * HOUR + 300 + 600 * i) for i in range(6)]
    shares = of_user(by, "percent", before, after)
    assert shares == (pytest.approx((sum(first) + 100) / 12 * share), pytest.approx(200 / 12 * share))
    assert of_user(by, "bytes", before, after) == (50 * MB * share, 90 * MB * share)
    # From the hour on that begins at the start, without the one that begins at the end.
    hour = NOW + 3 * HOUR
    assert of_user(by, "bytes", (hour, hour + 2 * HOUR), (hour + 1, hour + 2 * HOUR + 2)) == (
        50 * MB * share, 90 * MB * share
    )  # fmt: skip
    assert of_user(by, "percent", (hour + HOUR, hour + 2 * HOUR), (hour + 3 * HOUR, hour + 6 * HOUR))[1] == (
        pytest.approx(10 * share)
    )


@pytest.mark.parametrize("seconds", [2 * HOUR, 2 * HOUR + 1])
def test_who_used_nothing_used_zero_and_of_no_capture_there_is_no_share(of_user: Figured, seconds: int) -> None:
    after = (FROM, FROM + seconds)
    assert of_user("name", "percent", (NOW - DAY, NOW - HOUR), after, "nobody") == (None, 0.0)
    assert of_user("name", "bytes", (NOW - DAY, NOW - HOUR), after, "nobody") == (0, 0)
    assert of_user("service", "percent", (NOW - DAY, NOW - HOUR), after, "other.service") == (None, pytest.approx(1))


# -- devices


@pytest.fixture
def of_device(path: Path) -> Figured:
    def of_device(kind: str, name: str, metric: str, in_rows: bool, before: Window, after: Window) -> Figures:
        return figures(path, change_sql.of_device(kind, name, metric, in_rows, before, after))

    return of_device


# Two windows of a hundred seconds.
FIRST, SECOND = (NOW, NOW + 100), (NOW + 100, NOW + 200)


def test_a_row_counts_by_the_part_of_its_time_that_lies_in_the_window(host: Devices, of_device: Figured) -> None:
    # Bytes a second: 51.2 up to NOW, 102.4 in the 30 s around NOW, 512 for 60 s from there on, 1024 over the border of
    # the windows, 5120 until 10 s before the end, and after a break 10240 from the end on.
    for ts, covered, read in (
        (NOW - 10, 100.0, 5120),
        (NOW + 20, 30.0, 3072),
        (NOW + 80, 60.0, 30_720),
        (NOW + 120, 40.0, 40_960),
        (NOW + 190, 70.0, 358_400),
        (NOW + 240, 40.0, 409_600),
    ):
        host.did("disk", HOSTILE, ts, read, 0, 1, 0, covered * 250, 1, covered=covered)
        host.did("disk", "other", ts, 10**9, 0, 1, 0, 1, 1, covered=covered)
    # 20 s, 60 s and 20 s; 20 s and 70 s.
    expected = (102.4 * 0.2 + 512 * 0.6 + 1024 * 0.2, (1024 * 20 + 5120 * 70) / 90)
    assert of_device("disk", HOSTILE, "read_bytes", True, FIRST, SECOND) == pytest.approx(expected)
    assert of_device("disk", HOSTILE, "busy_percent", True, FIRST, SECOND) == (25.0, 25.0)


def test_an_average_of_rows_is_weighted_by_the_time_in_the_window_in_which_it_was_known(
    host: Devices, of_device: Figured
) -> None:
    for ts, covered, celsius in ((30, 60.0, 40.0), (60, 30.0, None), (110, 50.0, 60.0), (150, 40.0, 50.0)):
        host.did("sensor", "cpu", NOW + ts, celsius, covered=covered)
    # 30 s and 40 s; 10 s and 40 s.
    expected = ((40 * 30 + 60 * 40) / 70, (60 * 10 + 50 * 40) / 50)
    assert of_device("sensor", "cpu", "celsius", True, FIRST, SECOND) == pytest.approx(expected)
    assert of_device("sensor", "it's", "celsius", True, FIRST, SECOND) == (None, None)


def test_a_row_that_ends_or_begins_at_a_border_does_not_lie_beyond_it(host: Devices, of_device: Figured) -> None:
    host.did("interface", "eth0", NOW + 100, 0, 0, 300, 0, covered=100.0)
    assert of_device("interface", "eth0", "errors", True, FIRST, SECOND) == (3.0, None)
    assert of_device("interface", "eth0", "errors", True, (NOW - 100, NOW), (NOW + 99, NOW + 199)) == (None, 3.0)


def test_a_row_that_covers_the_window_ends_less_than_two_hours_after_it(host: Devices, of_device: Figured) -> None:
    host.did("interface", "eth0", NOW + 2 * HOUR, 0, 0, 0, 5 * 3 * HOUR, covered=3.0 * HOUR)
    before, after = (NOW - 100, NOW), (NOW - 99, NOW + 1)
    assert of_device("interface", "eth0", "drops", True, before, after) == (None, 5.0)


def test_the_hours_of_a_device_are_those_that_begin_in_the_window(host: Devices, of_device: Figured) -> None:
    """Of three hours, 40, 80 and 60 minutes of which are covered."""
    for hour, minutes, rate, celsius in ((0, 40, 512, 30.0), (1, 50, 1024, 60.0), (2, 30, 2048, 90.0)):
        seconds = 60 * minutes
        ts = NOW + hour * HOUR + seconds
        host.did("disk", HOSTILE, ts, rate * seconds, 0, 1, 0, celsius / 100 * seconds * 1000, 1, covered=seconds)
        host.did("sensor", HOSTILE, ts, celsius, covered=seconds)
        host.did("disk", "other", ts, 10**9, 0, 1, 0, 1, 1, covered=seconds)
    host.did("disk", "other", NOW + 5 * HOUR, 0, 0, 0, 0, 0, 0)
    host.roll_up()
    first, second = (NOW, NOW + 2 * HOUR), (NOW + 1, NOW + 2 * HOUR + 1)
    averages = ((30 * 40 + 60 * 50) / 90, (60 * 50 + 90 * 30) / 80)
    expected = ((512 * 40 + 1024 * 50) / 90, (1024 * 50 + 2048 * 30) / 80)
    assert of_device("disk", HOSTILE, "read_bytes", False, first, second) == pytest.approx(expected, rel=1e-4)
    assert of_device("disk", HOSTILE, "busy_percent", False, first, second) == pytest.approx(averages)
    assert of_device("sensor", HOSTILE, "celsius", False, first, second) == pytest.approx(averages)
    assert of_device("sensor", HOSTILE, "celsius", False, (NOW - HOUR, NOW), (NOW + 1, NOW + HOUR)) == (None, None)
