"""Daily peaks: fixed cases, what must always hold, how seldom random load has one."""

from math import comb
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.foresight import LEAST_HEIGHT, hours_of, job
from benchmarks.honesty import Load, ar1, bursts, skewed, total, walk
from service.analysis.recurrence import MINIMUM_DAYS, SIGNIFICANCE, DailyPeak, binomial_tail, daily_peak

# Whole numbers, so that shifting and doubling is exact.
days_of_hours = st.lists(st.none() | st.integers(-1000, 1000).map(float), max_size=15 * 24)


def peaky(days: int, hour: int = 2, height: float = 20.0) -> list[float | None]:
    """Noise, and a job each day in the hour."""
    random = Random("peaky")
    return [random.gauss(0, 1) + height * (h % 24 == hour) for h in range(days * 24)]


def found(answer: DailyPeak | None) -> DailyPeak:
    assert answer is not None
    return answer


def test_a_job_each_night_is_a_daily_peak() -> None:
    peak = found(daily_peak(peaky(14), 0, 10))
    # The first night has no 12 hours before it.
    assert (peak.hour, peak.peak_days, peak.days) == (2, 13, 13)
    assert peak.height == pytest.approx(20, abs=1)
    assert peak.p_value == pytest.approx(24 * 0.125**13)


@pytest.mark.parametrize("first_hour", [0, 5, 23])
def test_the_hour_is_that_of_the_callers_clock(first_hour: int) -> None:
    assert found(daily_peak(peaky(14), first_hour, 10)).hour == (2 + first_hour) % 24


def test_a_job_that_moves_between_two_hours_is_one_peak() -> None:
    random = Random("moves")
    hours = [random.gauss(0, 1) + 20 * (h % 24 == (2 if h // 24 % 3 else 3)) for h in range(14 * 24)]
    peak = found(daily_peak(hours, 0, 10))
    assert (peak.hour, peak.peak_days) == (2, 13)


def test_a_peak_on_some_days_counts_those() -> None:
    random = Random("some")
    off = {3, 9}
    hours = [random.gauss(0, 1) + 20 * (h % 24 == 2 and h // 24 not in off) for h in range(14 * 24)]
    peak = found(daily_peak(hours, 0, 10))
    assert peak.days == 13
    assert 11 <= peak.peak_days <= 12


def test_the_p_value_is_that_of_the_binomial_tail() -> None:
    assert binomial_tail(2, 3, 0.25) == pytest.approx(3 * 0.25**2 * 0.75 + 0.25**3)
    assert binomial_tail(0, 9, 0.125) == pytest.approx(sum(comb(9, k) * 7 ** (9 - k) for k in range(10)) / 8**9)


def test_fewer_than_seven_days_make_no_daily_peak() -> None:
    assert daily_peak(peaky(7), 0, 10) is None
    assert found(daily_peak(peaky(8), 0, 10)).days == 7


def test_days_recorded_by_half_do_not_count() -> None:
    hours = [None if h % 24 >= 12 and h // 24 < 5 else v for h, v in enumerate(peaky(14))]
    # 13 nights, without the five of which the first half of a day is all.
    assert found(daily_peak(hours, 0, 10)).days == 8


@pytest.mark.parametrize(("hour", "days"), [(11, 13), (12, 14), (13, 13)])
def test_a_day_is_the_twelve_hours_before_and_after_the_hour(hour: int, days: int) -> None:
    """Of fourteen days from midnight on, the first or the last is not whole but for noon."""
    assert found(daily_peak(peaky(14, hour), 0, 10)).days == days


def test_a_peak_is_as_high_as_it_stands_above_the_median_of_its_day() -> None:
    rising = [float(h % 24 + 100 * (h % 24 == 12)) for h in range(14 * 24)]
    # Half of the other hours lie below 12, half above.
    assert found(daily_peak(rising, 0, 10)).height == 100


def test_a_peak_lower_than_asked_is_none() -> None:
    assert daily_peak(peaky(14), 0, 30) is None


def test_a_plateau_has_no_peak() -> None:
    assert daily_peak([50.0 * (h % 24 < 8) for h in range(14 * 24)], 0, 10) is None
    assert daily_peak([50.0] * (14 * 24), 0, 10) is None


@pytest.mark.parametrize("first_hour", [-1, 24])
def test_an_hour_that_no_day_has_is_refused(first_hour: int) -> None:
    with pytest.raises(ValueError, match=r"first_hour must lie in 0\.\.23"):
        daily_peak([], first_hour, 10)


@pytest.mark.parametrize("least", [0.0, -1.0])
def test_a_least_height_of_nothing_is_refused(least: float) -> None:
    with pytest.raises(ValueError, match="minimum_height must be above 0"):
        daily_peak([], 0, least)


@given(days_of_hours, st.integers(0, 23))
def test_a_daily_peak_is_what_it_says(hours: list[float | None], first_hour: int) -> None:
    peak = daily_peak(hours, first_hour, 1)
    if peak is not None:
        assert peak.hour in range(24)
        assert MINIMUM_DAYS <= peak.days <= len(hours) / 24
        assert 0 < peak.peak_days <= peak.days
        assert peak.height >= 1
        assert 0 <= peak.p_value < SIGNIFICANCE


@given(st.integers(8, 20), st.integers(-1000, 1000), st.sampled_from([0.5, 2.0, 1024.0]))
def test_unit_and_level_change_a_peaks_height_alone(days: int, shift: int, factor: float) -> None:
    hours = [float(round(v or 0)) for v in peaky(days)]
    peak = found(daily_peak(hours, 0, 10))
    other = found(daily_peak([(v + shift) * factor for v in hours], 0, 10 * factor))
    assert other == DailyPeak(peak.hour, peak.peak_days, peak.days, peak.height * factor, peak.p_value)


@pytest.mark.parametrize(
    "load",
    [ar1(0, 10), ar1(0.7, 10), ar1(0.95, 10), skewed(0.95), walk(3), total(bursts(0.05, 40, 1), ar1(0, 2))],
    ids=["white", "AR(1) 0.7", "AR(1) 0.95", "exp AR(1)", "walk", "bursts"],
)
@pytest.mark.parametrize("days", [8, 14, 30])
def test_random_load_has_no_daily_peak(load: Load, days: int) -> None:
    random = Random(f"no peak {days}")
    peaks = [daily_peak(hours_of(load, days * 24, random), 0, 1) for _ in range(40)]
    assert sum(peak is not None for peak in peaks) <= 1


@pytest.mark.parametrize("noise", [ar1(0, 5), ar1(0.9, 5), walk(1)], ids=["white", "AR(1) 0.9", "walk"])
def test_a_job_on_twelve_of_fourteen_nights_is_nearly_always_found(noise: Load) -> None:
    random = Random("job")
    peaks = [daily_peak(hours_of(total(job(12 / 14), noise), 14 * 24, random), 0, LEAST_HEIGHT) for _ in range(60)]
    assert sum(peak is not None and peak.hour == 2 for peak in peaks) >= 52
