"""What two readings mean, for any readings and any clocks."""

import math
from typing import get_args

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clock import Instant, steady
from service.host.read import Host
from service.metrics import METRICS
from service.recording.meaning import Observation, first_sample, next_sample
from service.records import Break, CpuSeconds, Reading, Reason, Sample
from tests.conftest import NOW

INTERVAL = 5
AT = Instant(float(NOW), 1000.0, 1000.0)


def later(seconds: float, asleep: float = 0.0, stepped: float = 0.0) -> Instant:
    return Instant(AT.wall + seconds + asleep + stepped, AT.steady + seconds, AT.boot + seconds + asleep)


def meaning(then: Reading, now: Reading, at: Instant | None = None) -> Sample:
    return next_sample(Observation(AT, then), Observation(at or later(INTERVAL), now), INTERVAL)


# -- on this host


def test_every_metric_has_a_value_on_this_host_from_the_second_reading_on() -> None:
    host, begin = Host("/"), steady()
    then = now = host.read()
    while now.cpu_seconds == then.cpu_seconds or steady() - begin < 0.05:
        now = host.read()
    values = meaning(then, now).values
    lacking = set() if now.pressure_us else {m.name for m in METRICS if m.chart == "Waiting"}
    lacking |= set() if psutil.swap_memory().total else {"swap_percent"}
    assert {name for name, value in values.items() if value is not None} == {m.name for m in METRICS} - lacking


# -- values

numbers = st.floats(0, 1e9)
cpu_seconds = st.tuples(numbers, numbers).map(lambda parts: (min(parts), max(parts)))
readings = st.builds(
    Reading,
    gauges=st.dictionaries(st.sampled_from(["load_1", "memory_percent"]), numbers),
    counters=st.dictionaries(st.sampled_from(["disk_read_bytes", "network_sent_bytes"]), st.integers(0, 2**63)),
    cpu_seconds=st.none() | cpu_seconds,
    seconds_by_cpu=st.dictionaries(st.sampled_from("0123"), cpu_seconds),
    pressure_us=st.dictionaries(st.sampled_from(["cpu_pressure", "io_pressure"]), st.integers(0, 2**63)),
)


@given(readings, readings, st.floats(0, 1e6))
def test_a_share_is_unknown_or_between_0_and_100_whatever_was_read(then: Reading, now: Reading, seconds: float) -> None:
    values = meaning(then, now, later(seconds)).values
    shares = set(values) - set(now.gauges) - set(now.counters)
    assert shares == {"cpu_percent", "cpu_busiest_percent", *now.pressure_us}
    known = [value for name in shares if (value := values[name]) is not None]
    assert all(0 <= value <= 100 for value in known)


@given(readings, readings)
def test_what_was_read_is_stored_as_it_is(then: Reading, now: Reading) -> None:
    for values in (meaning(then, now).values, first_sample(Observation(AT, now), INTERVAL, Break(None, None)).values):
        assert {name: values[name] for name in (*now.gauges, *now.counters)} == {**now.gauges, **now.counters}


@given(readings)
def test_a_first_sample_stands_for_no_time_and_has_no_share_of_it(now: Reading) -> None:
    sample = first_sample(Observation(AT, now), INTERVAL, Break(None, None))
    assert sample.covered_seconds == 0.0
    assert set(sample.values) == {*now.gauges, *now.counters}


def test_cpu_is_the_busy_share_between_two_readings() -> None:
    assert meaning(Reading(cpu_seconds=(1.0, 10.0)), Reading(cpu_seconds=(3.5, 20.0))).values["cpu_percent"] == 25.0


@pytest.mark.parametrize("then", [None, (5.0, 10.0), (0.0, 20.0)], ids=["unread", "went back", "stood still"])
def test_cpu_is_unknown_when_its_counters_were_unread_went_back_or_stood_still(then: CpuSeconds | None) -> None:
    sample = meaning(Reading(cpu_seconds=then), Reading(cpu_seconds=(1.0, 20.0)))
    assert sample.values["cpu_percent"] is None


def test_cpu_never_exceeds_a_hundred() -> None:
    sample = meaning(Reading(cpu_seconds=(0.0, 0.0)), Reading(cpu_seconds=(10.01, 10.0)))
    assert sample.values["cpu_percent"] == 100.0


def test_pressure_is_the_share_of_the_time_that_really_passed() -> None:
    then, now = Reading(pressure_us={"io_pressure": 1_000_000}), Reading(pressure_us={"io_pressure": 3_000_000})
    assert meaning(then, now, later(8)).values["io_pressure"] == 25.0
    assert meaning(now, then, later(8)).values["io_pressure"] is None


# -- the busiest CPU


def busiest(then: dict[str, CpuSeconds], now: dict[str, CpuSeconds]) -> float | None:
    return meaning(Reading(seconds_by_cpu=then), Reading(seconds_by_cpu=now)).values["cpu_busiest_percent"]


def test_the_busiest_cpu_is_the_one_whose_share_is_greatest() -> None:
    then = {"0": (100.0, 1000.0), "1": (500.0, 1000.0), "2": (0.0, 1000.0)}
    assert busiest(then, {"0": (104.0, 1005.0), "1": (501.0, 1005.0), "2": (0.0, 1005.0)}) == 80.0


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({}, {}),
        ({}, {"0": (1.0, 5.0)}),
        ({"0": (1.0, 5.0)}, {}),
        ({"0": (1.0, 5.0)}, {"0": (1.0, 5.0)}),
        ({"0": (3.0, 5.0)}, {"0": (1.0, 9.0)}),
    ],
    ids=["never read", "not read before", "not read now", "stood still", "went back"],
)
def test_the_busiest_cpu_is_unknown_where_no_cpu_can_be_compared(
    then: dict[str, CpuSeconds], now: dict[str, CpuSeconds]
) -> None:
    assert busiest(then, now) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, (4000.0, 4000.0)),
        ((4000.0, 4000.0), None),
        ((4000.0, 4000.0), (4000.5, 4000.5)),
        ((4000.0, 4000.0), (3999.0, 4001.0)),
    ],
    ids=["came back", "went offline", "was away nearly all the time", "came back with other times"],
)
def test_a_cpu_that_goes_offline_or_comes_back_is_left_out(before: CpuSeconds | None, after: CpuSeconds | None) -> None:
    then, now = {"0": (1.0, 10.0)}, {"0": (2.0, 15.0)}
    assert busiest({**then, "1": before} if before else then, {**now, "1": after} if after else now) == 20.0


def test_a_cpu_that_comes_back_with_hours_of_idle_time_does_not_hide_the_others() -> None:
    assert busiest({"0": (1.0, 10.0), "1": (0.0, 0.0)}, {"0": (2.0, 15.0), "1": (0.0, 7200.0)}) == 20.0


@given(st.lists(st.tuples(st.floats(0, 5), st.just(5.0)), min_size=1, max_size=8))
def test_the_busiest_cpu_is_at_least_as_busy_as_all_together(used: list[CpuSeconds]) -> None:
    then = Reading(cpu_seconds=(0.0, 0.0), seconds_by_cpu={str(n): (0.0, 0.0) for n in range(len(used))})
    now = Reading(
        cpu_seconds=(sum(busy for busy, _ in used), 5.0 * len(used)),
        seconds_by_cpu={str(number): seconds for number, seconds in enumerate(used)},
    )
    values = meaning(then, now).values
    together, most = values["cpu_percent"], values["cpu_busiest_percent"]
    assert together is not None
    assert most is not None
    assert most >= together or math.isclose(most, together)


@given(readings, readings, st.randoms())
def test_the_order_of_the_cpus_does_not_matter(then: Reading, now: Reading, random: "st.random.Random") -> None:
    cpus = list(now.seconds_by_cpu.items())
    random.shuffle(cpus)
    shuffled = now._replace(seconds_by_cpu=dict(cpus))
    assert meaning(then, shuffled).values == meaning(then, now).values


# -- time and gaps

moments = st.builds(later, st.floats(0, 1e5), st.floats(0, 1e6), st.floats(-1e6, 1e6))


@given(moments)
def test_a_sample_stands_for_at_most_two_intervals_and_for_one_after_a_longer_time(at: Instant) -> None:
    elapsed = at.steady - AT.steady
    covered = meaning(Reading(), Reading(), at).covered_seconds
    assert covered == (elapsed if elapsed <= 2 * INTERVAL else INTERVAL)


@given(moments)
def test_a_sample_follows_the_one_before_it_where_the_wall_clock_went_on_by_at_most_two_intervals(at: Instant) -> None:
    sample = meaning(Reading(), Reading(), at)
    assert sample.ts == round(at.wall)
    assert (sample.begins is None) == (sample.ts > NOW and at.wall - AT.wall <= 2 * INTERVAL)


@given(moments)
def test_a_gap_begins_at_the_sample_before_and_its_reason_is_what_made_most_of_it(at: Instant) -> None:
    begins = meaning(Reading(), Reading(), at).begins
    if begins is None:
        return
    assert begins.prior_end == NOW
    assert begins.reason in (None, *get_args(Reason))
    if round(at.wall) > NOW:
        late, asleep = at.steady - AT.steady, at.boot - AT.boot - (at.steady - AT.steady)
        parts = {"overload": late, "suspended": asleep, "clock_step": at.wall - AT.wall - late - asleep}
        assert parts[begins.reason or ""] == max(parts.values())


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (later(60), "overload"),
        (later(5, asleep=3600), "suspended"),
        (later(5, stepped=7200), "clock_step"),
        (later(5, stepped=-7200), "clock_step"),
    ],
)
def test_a_gap_has_the_reason_of_its_cause(at: Instant, reason: Reason) -> None:
    assert meaning(Reading(), Reading(), at).begins == Break(NOW, reason)


def test_two_samples_of_one_second_are_two_stretches_and_no_gap() -> None:
    assert meaning(Reading(), Reading(), later(0.2)).begins == Break(NOW, None)


@pytest.mark.parametrize(("seconds_since", "reason"), [(10, None), (11, "killed")])
def test_a_restart_is_a_gap_only_where_a_sample_was_missed(seconds_since: int, reason: Reason | None) -> None:
    before = Break(NOW - seconds_since, "killed")
    sample = first_sample(Observation(AT, Reading()), INTERVAL, before)
    assert sample.begins == Break(NOW - seconds_since, reason)


@pytest.mark.parametrize(
    ("seconds", "begins", "covered"),
    [(10.0, None, 10.0), (10.25, Break(NOW, "overload"), 5.0), (14.0, Break(NOW, "overload"), 5.0)],
)
def test_a_gap_is_more_than_two_intervals_to_the_quarter_of_a_second(
    seconds: float, begins: Break | None, covered: float
) -> None:
    sample = meaning(Reading(), Reading(), later(seconds))
    assert (sample.begins, sample.covered_seconds) == (begins, covered)
