"""Trend: fixed cases, what must always hold, and how seldom the trend word is false."""

from math import erfc, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.trend import (
    CERTAIN,
    MINIMUM_SHIFTS,
    Trend,
    middle,
    p_values,
    score_variance,
    shift,
    slope_and_score,
    slope_variance,
    trend,
)

# Whole numbers, so that shifting and doubling a series is exact.
whole = st.integers(-1000, 1000).map(float)
hours = st.lists(whole, min_size=10, max_size=40)

# An integer AR(1) walk with a small drift. Oracle: pymannkendall 1.4.3, hamed_rao_modification_test(HOUR) for
# slope, S and p; original_test(HOUR) for the variance of S.
HOUR = [50, 52, 50, 52, 55, 56, 60, 54, 54, 50, 48, 48, 50, 53, 55, 63, 63, 54, 54, 52]
HOUR += [50, 56, 55, 47, 50, 50, 47, 45, 46, 48, 48, 51, 59, 55, 52, 52, 58, 54, 60, 54]
HOUR += [51, 52, 50, 50, 54, 58, 58, 57, 62, 63, 60, 64, 59, 59, 62, 61, 58, 60, 57, 55]


def noise(random: Random, phi: float, sigma: float, count: int = 60) -> list[float]:
    values = [random.gauss(0, sigma)]
    for _ in range(count - 1):
        values.append(phi * values[-1] + random.gauss(0, sigma * sqrt(1 - phi * phi)))
    return values


def numbers(answer: Trend) -> tuple[float, float]:
    assert answer.change_per_hour is not None
    assert answer.p_value is not None
    return answer.change_per_hour, answer.p_value


def share_of_words(phi: float, sigma: float, drift: float = 0, trials: int = 400) -> float:
    random = Random(f"{phi} {sigma} {drift}")
    series = ([v + drift * i / 60 for i, v in enumerate(noise(random, phi, sigma))] for _ in range(trials))
    return sum(trend(means, 60, 5).word != "stable" for means in series) / trials


def test_slope_and_score_agree_with_pymannkendall() -> None:
    slope, score = slope_and_score(range(60), HOUR)
    assert slope == pytest.approx(0.13548951048951047)
    assert score == 507
    assert score_variance(HOUR) == pytest.approx(24363.666666666668)


def test_the_hamed_rao_p_value_agrees_with_pymannkendall() -> None:
    hamed_rao, _ = p_values(range(60), HOUR, *slope_and_score(range(60), HOUR))
    assert hamed_rao == pytest.approx(0.023339085456156372)


def test_without_autocorrelation_the_p_value_is_that_of_mann_and_kendall() -> None:
    values = [50.0, 52.0, 50.5, 53.0, 49.0, 54.0, 52.5, 51.0, 55.0, 53.5, 51.5, 56.0]
    slope, score = slope_and_score(range(12), values)
    plain = erfc((score - 1) / sqrt(score_variance(values)) / sqrt(2))
    assert p_values(range(12), values, slope, score)[0] == pytest.approx(plain)


def test_the_worst_case_keeps_what_hamed_and_rao_would_call_a_trend_stable() -> None:
    assert trend(HOUR, 60, 5).word == "stable"
    assert numbers(trend(HOUR, 60, 5)) == pytest.approx((8.129370629370628, 0.3695758453122604))


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.9, 1.0])
def test_the_slope_variance_is_that_of_the_sum_over_all_pairs(persistence: float) -> None:
    positions = [0, 1, 2, 5, 6, 9]
    centred = [p - sum(positions) / 6 for p in positions]
    phi = min(persistence, 1 - 1e-7)  # the sum over pairs has no limit form
    pairs = sum(a * b * phi ** abs(i - j) for i, a in enumerate(centred) for j, b in enumerate(centred))
    expected = pairs / sum(c * c for c in centred) ** 2 / (1 - phi * phi)
    assert slope_variance(positions, persistence) == pytest.approx(expected, rel=1e-5)


def test_a_trend_needs_ten_recorded_buckets() -> None:
    assert trend([1.0, None] * 9, 60, 0) == Trend("unknown", None, None)
    assert trend([float(i) for i in range(10)], 60, 5).word == "increasing"


def test_a_constant_is_stable_with_slope_0_and_p_1() -> None:
    assert trend([42.0] * 60, 60, 0) == Trend("stable", 0.0, 1.0)


@pytest.mark.parametrize("count", [10, 11, 30, 60])
def test_a_straight_line_is_a_trend_however_it_is_rounded(count: int) -> None:
    answer = trend([0.1 * i for i in range(count)], 60, 0.9)
    assert answer.word == "increasing"
    assert answer.change_per_hour == pytest.approx(6)


def test_the_change_counts_over_the_whole_window() -> None:
    ramp = [i / 8 for i in range(50)] + [None] * 10
    assert [trend(ramp, 60, least).word for least in (7.5, 7.6)] == ["increasing", "stable"]


def test_a_gap_does_not_bend_the_slope() -> None:
    ramp = [None if i % 3 else float(i) for i in range(60)]
    assert trend(ramp, 30, 5).change_per_hour == pytest.approx(120)


def test_a_real_but_small_change_is_stable() -> None:
    answer = trend([0.05 * i + i % 2 / 10 for i in range(60)], 60, 5)
    assert answer.word == "stable"
    assert numbers(answer)[1] < 0.01


def test_a_great_change_that_chance_may_explain_is_stable() -> None:
    answer = trend([0, 50, 10, 60, 5, 70, 20, 40, 15, 65, 30, 45], 60, 5)
    assert answer.word == "stable"
    assert abs(numbers(answer)[0] * 12 / 60) > 5


@given(hours)
def test_a_mirrored_series_has_the_mirrored_trend(means: list[float]) -> None:
    one, other = trend(means, 60, 5), trend([-v for v in means], 60, 5)
    assert other.word == {"increasing": "decreasing", "decreasing": "increasing"}.get(one.word, one.word)
    assert other.change_per_hour == -numbers(one)[0]
    assert other.p_value == pytest.approx(one.p_value)


@given(hours, whole)
def test_a_constant_added_changes_nothing(means: list[float], offset: float) -> None:
    one, other = trend(means, 60, 5), trend([v + offset for v in means], 60, 5)
    assert (other.word, other.change_per_hour) == (one.word, one.change_per_hour)
    assert other.p_value == pytest.approx(one.p_value)


@given(hours)
def test_a_doubled_series_doubles_the_change_and_keeps_p(means: list[float]) -> None:
    one, other = trend(means, 60, 5), trend([2 * v for v in means], 60, 10)
    assert (other.word, other.change_per_hour) == (one.word, 2 * numbers(one)[0])
    assert other.p_value == pytest.approx(one.p_value)


@given(hours)
def test_unrecorded_buckets_around_the_window_leave_slope_and_p(means: list[float]) -> None:
    one, other = trend(means, 60, 5), trend([None, *means, None], 60, 5)
    assert other.change_per_hour == one.change_per_hour
    assert other.p_value == pytest.approx(one.p_value)


@given(hours, st.integers(-50, 50), st.floats(0, 3000))
def test_a_direction_needs_both_significance_and_change(means: list[float], slope: int, least: float) -> None:
    answer = trend([v / 10 + slope * i for i, v in enumerate(means)], 60, least)
    per_hour, p_value = numbers(answer)
    enough = abs(per_hour * len(means) / 60) >= least
    assert answer.word in ({"increasing", "decreasing"} if p_value < 0.05 and enough and per_hour else {"stable"})
    assert answer.word != ("decreasing" if per_hour > 0 else "increasing")


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.7, 0.9, 0.95])
def test_fewer_than_one_hour_in_twenty_of_stationary_load_gets_a_false_word(phi: float) -> None:
    assert share_of_words(phi, sigma=10) < 0.05


@pytest.mark.parametrize(("phi", "sigma"), [(0.0, 3), (0.3, 2), (0.5, 1.5), (0.9, 0.5), (0.95, 0.75)])
def test_a_drift_of_twice_the_least_change_is_found(phi: float, sigma: float) -> None:
    assert share_of_words(phi, sigma, drift=10, trials=200) >= 0.95


def test_bursts_do_not_hide_a_drift() -> None:
    random = Random("bursts")
    means = [i / 6 + random.gauss(0, 1) + (40 if random.random() < 0.1 else 0) for i in range(60)]
    assert trend(means, 60, 5).word == "increasing"


@pytest.mark.parametrize("every", [2, 3, 5])
def test_words_are_seldom_false_beside_a_job_that_runs_every_few_minutes(every: int) -> None:
    random = Random(every)
    hours = [[v + 30 * (i % every == 0) for i, v in enumerate(noise(random, 0.97, 6))] for _ in range(300)]
    assert sum(trend(hour, 60, 5).word != "stable" for hour in hours) / 300 < 0.05


# A host that shifts by up to 10 points within an hour; one shift in a hundred is farther.
USUAL = [i / 100 for i in range(990)] + [40.0] * 10


def test_a_shift_that_is_rare_on_this_host_is_a_word_and_a_common_one_is_not() -> None:
    jump = [20.0 + i % 2 for i in range(35)] + [32.0 + i % 2 for i in range(25)]
    assert trend(jump, 60, 5).word == trend(jump, 60, 5, [15.0] * 1000).word == "stable"
    compared = trend(jump, 60, 5, USUAL)
    assert compared == Trend("increasing", 12.0, 0.01)
    assert trend([-v for v in jump], 60, 5, USUAL) == Trend("decreasing", -12.0, 0.01)
    assert trend(jump, 60, 13, USUAL).word == "stable"


def test_a_rise_that_is_over_before_the_hour_ends_is_no_word() -> None:
    over = [20.0] * 40 + [40.0] * 11 + [20.0] * 9
    assert trend(over, 60, 5, USUAL).word == "stable"


def test_a_doubtful_word_of_the_test_needs_a_shift_that_is_not_common() -> None:
    random = Random(9)
    ramp = [v + 6 * i / 60 for i, v in enumerate(noise(random, 0.0, 3))]
    tested = trend(ramp, 60, 2)
    assert tested.word == "increasing"
    assert numbers(tested)[1] > CERTAIN
    assert trend(ramp, 60, 2, USUAL).word == "stable"
    assert numbers(trend(ramp, 60, 2, USUAL))[1] > 0.05


def test_a_part_of_an_hour_is_known_by_a_fifth_of_it() -> None:
    assert middle([None, 3.0, None, None, None]) == 3.0
    assert middle([None, 3.0, None, None, None, None]) is None
    assert middle([]) is None


def test_a_shift_is_the_last_third_less_the_first() -> None:
    assert shift([1.0, 2.0, 3.0, 99.0, 99.0, 99.0, 99.0, 7.0, 8.0, 9.0]) == 6.0
    assert shift([None, None, None, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]) is None
    assert shift([2.0, 2.0, 2.0, 1.0, 1.0, 1.0, None, None, None]) is None


def test_few_shifts_compare_nothing() -> None:
    jump = [20.0] * 35 + [32.0] * 25
    assert trend(jump, 60, 5, [0.0] * (MINIMUM_SHIFTS - 1)) == trend(jump, 60, 5)
