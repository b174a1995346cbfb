"""What two readings mean, for any readings and any clocks."""

import math
from collections.abc import Mapping
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
    lacking |= set() if now.limited_cpu else {m.name for m in METRICS if m.chart == "Of the limit"}
    lacking |= set() if psutil.swap_memory().total else {"swap_percent"}
    assert {name for name, value in values.items() if value is not None} == {m.name for m in METRICS} - lacking


# -- values

MODES = {metric.name for metric in METRICS if metric.chart == "CPU modes"}
BUSY_MODES = MODES - {"cpu_iowait_percent"}

numbers = st.floats(0, 1e9)
cpu_seconds = st.builds(CpuSeconds, user=numbers, system=numbers, steal=numbers, idle=numbers, iowait=numbers)
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
    known_limits = {"cpu_limit_percent"} if then.limited_cpu and now.limited_cpu else set()
    assert shares == {"cpu_percent", "cpu_busiest_percent", *MODES, *now.pressure_us, *known_limits}
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


START = CpuSeconds(user=1000.0, nice=10.0, system=200.0, irq=5.0, softirq=5.0, steal=30.0, idle=9000.0, iowait=70.0)


def cpu_reading(seconds: CpuSeconds | None, count: int = 2) -> Reading:
    """Of so many CPUs, each of which has its part of the whole."""
    each = {str(number): CpuSeconds(*[part / count for part in seconds or START]) for number in range(count)}
    return Reading(cpu_seconds=seconds, seconds_by_cpu=each)


def after(**changes: float) -> CpuSeconds:
    """The times after START by so many seconds; what is not named is the rest of 10 CPU seconds, and idle."""
    named = {"user": 1.0, "iowait": 4.0, "idle": 5.0, **changes}
    return CpuSeconds._make(
        before + named.get(state, 0.0) for state, before in zip(CpuSeconds._fields, START, strict=True)
    )


def shares(now: CpuSeconds, then: CpuSeconds = START) -> tuple[float | None, float | None]:
    """Of all CPUs and of the busiest, in 5 seconds of two CPUs."""
    values = meaning(cpu_reading(then), cpu_reading(now)).values
    return values["cpu_percent"], values["cpu_busiest_percent"]


def test_the_modes_are_the_shares_that_make_up_the_busy_one() -> None:
    now = after(user=1.0, nice=0.5, system=0.25, irq=0.1, softirq=0.15, steal=0.5, idle=4.5, iowait=3.0)
    values = meaning(cpu_reading(START), cpu_reading(now)).values
    assert {name: values[name] for name in sorted(MODES)} == pytest.approx(
        {
            "cpu_iowait_percent": 30.0, "cpu_irq_percent": 1.0, "cpu_nice_percent": 5.0, "cpu_softirq_percent": 1.5,
            "cpu_steal_percent": 5.0, "cpu_system_percent": 2.5, "cpu_user_percent": 10.0,
        }
    )  # fmt: skip
    assert values["cpu_percent"] == pytest.approx(25.0)


@given(readings, readings, st.floats(0, 100))
def test_modes_are_known_where_the_busy_share_is_and_the_busy_ones_add_up_to_it(
    then: Reading, now: Reading, seconds: float
) -> None:
    values = meaning(then, now, later(seconds)).values
    known = [value for name in BUSY_MODES if (value := values[name]) is not None]
    if values["cpu_percent"] is None:
        assert [name for name in MODES if values[name] is not None] == []
    else:
        assert sum(known) == pytest.approx(values["cpu_percent"])


@pytest.mark.parametrize("state", ["user", "iowait", "steal"])
def test_a_mode_whose_counter_fell_is_unknown_and_the_others_are_not(state: str) -> None:
    changes = {"user": 4.0, "iowait": 1.0, "steal": 1.0, "idle": 5.0, state: -0.01}
    values = meaning(cpu_reading(START), cpu_reading(after(**changes))).values
    known = {name for name in MODES if values[name] is not None}
    assert known in (MODES - {f"cpu_{state}_percent"}, set())
    assert state != "iowait" or known


def test_iowait_that_was_idle_before_is_unknown() -> None:
    """The kernel books the sleep of a CPU anew when a task of it begins to wait."""
    values = meaning(cpu_reading(START), cpu_reading(after(user=1.0, idle=-20.0, iowait=29.0))).values
    assert values["cpu_iowait_percent"] is None
    assert values["cpu_percent"] == pytest.approx(10.0)


def test_cpu_is_the_busy_share_between_two_readings() -> None:
    assert shares(after(user=2.0, system=0.5, idle=3.5)) == (25.0, 25.0)


@pytest.mark.parametrize("then", [None, after(), after(user=7, idle=9)], ids=["unread", "stood still", "went back"])
def test_cpu_is_unknown_when_its_counters_were_unread_stood_still_or_went_back(then: CpuSeconds | None) -> None:
    assert meaning(cpu_reading(then), cpu_reading(after())).values["cpu_percent"] is None


@pytest.mark.parametrize("fall", [-1.5, -4.0, -7.5, -20.0])
@pytest.mark.parametrize("state", ["iowait", "idle"])
def test_idle_time_that_the_kernel_takes_back_makes_nobody_busier(state: str, fall: float) -> None:
    """Steady 10 % busy; the other idle state goes on as before."""
    assert shares(after(**{state: fall})) == (pytest.approx(10.0), pytest.approx(10.0))


@pytest.mark.parametrize("moved", [2.0, 6.0, 20.0, -3.0, -8.0, -20.0])
def test_idle_time_that_the_kernel_books_as_iowait_or_iowait_as_idle_makes_nobody_busier(moved: float) -> None:
    """Steady 10 % busy. What one of the two loses the other has: their sum goes on as before."""
    assert shares(after(idle=5.0 + moved, iowait=4.0 - moved)) == (pytest.approx(10.0), pytest.approx(10.0))


def test_a_leap_of_busy_time_is_unknown_also_where_iowait_fell_by_as_much() -> None:
    assert shares(after(user=14.0, idle=0.0, iowait=-4.0)) == (None, None)


@pytest.mark.parametrize("leap", [15.0, 150.0, 1e7])
@pytest.mark.parametrize("state", CpuSeconds._fields)
def test_more_time_than_there_was_is_unknown_in_whatever_state(state: str, leap: float) -> None:
    assert shares(after(**{state: leap})) == (None, None)


@pytest.mark.parametrize("state", ["user", "nice", "system", "irq", "softirq", "steal"])
def test_a_busy_state_that_fell_is_no_time_where_none_is_missing(state: str) -> None:
    other = "system" if state == "user" else "user"
    changes = {"user": 0.0, other: 1.0, state: -4.0}
    assert shares(after(**changes)) == (pytest.approx(10.0), pytest.approx(10.0))


@pytest.mark.parametrize("state", ["user", "nice", "system", "irq", "softirq", "steal"])
def test_where_a_busy_state_fell_and_time_is_missing_it_is_unknown_who_had_it(state: str) -> None:
    assert shares(after(**{"idle": 2.0, state: -4.0})) == (None, None)


@pytest.mark.parametrize("state", ["user", "nice", "system", "irq", "softirq", "steal"])
def test_a_busy_state_that_fell_makes_no_zero_where_a_little_time_is_missing(state: str) -> None:
    """Within what the counters may lie off the clock: what is missing may be all of the busy time."""
    assert shares(after(**{"user": 0.0, "idle": 5.5, state: -4.0})) == (None, None)
    assert shares(after(**{"user": 0.0, "idle": 6.0, state: -4.0})) == (None, None)
    other = "system" if state == "user" else "user"
    assert shares(after(**{"user": 0.0, other: 0.2, "idle": 5.3, state: -4.0})) == (None, None)


@given(st.lists(st.floats(-50, 50), min_size=8, max_size=8))
def test_no_leap_of_any_state_makes_a_share_beyond_what_can_be(changes: list[float]) -> None:
    now = CpuSeconds._make(max(0.0, before + change) for before, change in zip(START, changes, strict=True))
    for share in shares(now):
        assert share is None or 0 <= share <= 100


def test_counters_that_lie_a_little_off_the_clock_are_compared_with_each_other() -> None:
    assert shares(after(user=9.0, idle=1.5, iowait=0.0)) == (pytest.approx(9000 / 105), pytest.approx(9000 / 105))


@pytest.mark.parametrize(("then", "now"), [(2, 1), (1, 2), (0, 0)])
def test_while_the_number_of_cpus_changes_or_is_unknown_the_share_of_all_is_unknown(then: int, now: int) -> None:
    values = meaning(cpu_reading(START, then), cpu_reading(after(), now)).values
    assert values["cpu_percent"] is None


def test_pressure_is_the_share_of_the_time_that_really_passed() -> None:
    then, now = Reading(pressure_us={"io_pressure": 1_000_000}), Reading(pressure_us={"io_pressure": 3_000_000})
    assert meaning(then, now, later(8)).values["io_pressure"] == 25.0
    assert meaning(now, then, later(8)).values["io_pressure"] is None


def test_pressure_of_more_time_than_passed_is_unknown_and_of_a_little_more_a_hundred() -> None:
    then = Reading(pressure_us={"io_pressure": 0})
    totals = (5_001_000, 9_000_000)
    waits = [meaning(then, Reading(pressure_us={"io_pressure": total})).values["io_pressure"] for total in totals]
    assert waits == [100.0, None]


# -- the busiest CPU


# (busy, total) seconds.
Pair = tuple[float, float]


def each_cpu(pairs: Mapping[str, Pair]) -> Reading:
    return Reading(seconds_by_cpu={cpu: CpuSeconds(user=busy, idle=all - busy) for cpu, (busy, all) in pairs.items()})


def busiest(then: dict[str, Pair], now: dict[str, Pair]) -> float | None:
    return meaning(each_cpu(then), each_cpu(now)).values["cpu_busiest_percent"]


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
def test_the_busiest_cpu_is_unknown_where_no_cpu_can_be_compared(then: dict[str, Pair], now: dict[str, Pair]) -> None:
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
def test_a_cpu_that_goes_offline_or_comes_back_is_left_out(before: Pair | None, after: Pair | None) -> None:
    then, now = {"0": (1.0, 10.0)}, {"0": (2.0, 15.0)}
    assert busiest({**then, "1": before} if before else then, {**now, "1": after} if after else now) == 20.0


def test_a_cpu_that_comes_back_with_hours_of_idle_time_does_not_hide_the_others() -> None:
    assert busiest({"0": (1.0, 10.0), "1": (0.0, 0.0)}, {"0": (2.0, 15.0), "1": (0.0, 7200.0)}) == 20.0


@given(st.lists(st.tuples(st.floats(0, 5), st.just(5.0)), min_size=1, max_size=8))
def test_the_busiest_cpu_is_at_least_as_busy_as_all_together(used: list[Pair]) -> None:
    then = cpu_reading(CpuSeconds(), len(used))
    busy = sum(busy for busy, _ in used)
    now = each_cpu({str(number): pair for number, pair in enumerate(used)})
    now = now._replace(cpu_seconds=CpuSeconds(user=busy, idle=5.0 * len(used) - busy))
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
