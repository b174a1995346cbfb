"""Average, trend, peaks, percentile: fixed cases, what must always hold, how seldom the trend word lies."""

from itertools import pairwise
from math import exp, sqrt
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.analysis import peaks as peak_room
from service.analysis import trend as trend_room
from service.analysis.averages import percentile, weighted_mean
from service.analysis.peaks import peaks
from service.analysis.trend import Trend, trend

# Whole numbers, so that shifting and doubling a series is exact.
whole = st.integers(-1000, 1000).map(float)
gappy = st.lists(st.none() | whole, max_size=60)
hours = st.lists(whole, min_size=10, max_size=40)
weighted = st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=30)

# An integer AR(1) walk with a small drift. Oracle: pymannkendall 1.4.3, hamed_rao_modification_test(HOUR) for
# slope, S and p; original_test(HOUR) for the variance of S.
HOUR = [50, 52, 50, 52, 55, 56, 60, 54, 54, 50, 48, 48, 50, 53, 55, 63, 63, 54, 54, 52]
HOUR += [50, 56, 55, 47, 50, 50, 47, 45, 46, 48, 48, 51, 59, 55, 52, 52, 58, 54, 60, 54]
HOUR += [51, 52, 50, 50, 54, 58, 58, 57, 62, 63, 60, 64, 59, 59, 62, 61, 58, 60, 57, 55]

# Another, of 48. Oracle: scipy 1.17.1, find_peaks(DAY, prominence=0, plateau_size=1): edges, prominences.
DAY = [49, 51, 50, 49, 45, 45, 51, 52, 56, 56, 56, 56, 48, 52, 53, 55, 47, 41, 39, 39, 43, 44, 47, 45]
DAY += [47, 50, 47, 54, 56, 59, 55, 51, 49, 49, 52, 52, 50, 46, 45, 51, 47, 49, 51, 45, 46, 52, 44, 44]
DAY_MAXIMA = {1: 2, 8: 11, 15: 7, 22: 2, 25: 3, 29: 15, 34: 3, 39: 6, 42: 6, 45: 7}


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


def humps(random: Random, sigma: float) -> list[float]:
    """Two busy times a day, at buckets 28 (14:00) and 37 (18:30)."""
    day = [20 + 40 * exp(-(((i - 28) / 3) ** 2)) + 30 * exp(-(((i - 37) / 2) ** 2)) for i in range(48)]
    return [v + random.gauss(0, sigma) for v in day]


def test_a_value_counts_in_the_mean_by_its_weight() -> None:
    assert weighted_mean([10, 40], [2, 1]) == 20


def test_what_was_not_recorded_or_weighs_nothing_is_skipped() -> None:
    assert weighted_mean([10, None, 99], [5, 5, 0]) == 10
    assert percentile([10, None, 99], [5, 5, 0], 1) == 10


@pytest.mark.parametrize(("values", "weights"), [([], []), ([None], [1]), ([7], [0])])
def test_without_weight_there_is_no_mean_and_no_percentile(values: list[float], weights: list[float]) -> None:
    assert weighted_mean(values, weights) is None
    assert percentile(values, weights, 0.5) is None


def test_values_and_weights_must_have_one_length() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        weighted_mean([1, 2], [1])


@given(weighted)
def test_the_mean_lies_between_least_and_greatest(pairs: list[tuple[float | None, float]]) -> None:
    seen = [v for v, w in pairs if v is not None and w > 0]
    mean = weighted_mean([v for v, _ in pairs], [w for _, w in pairs])
    assert (mean is None) if not seen else (mean is not None and min(seen) <= mean <= max(seen))


@pytest.mark.parametrize(("fraction", "answer"), [(0, 1), (0.07, 7), (0.5, 50), (0.95, 95), (0.951, 96), (1, 100)])
def test_a_percentile_is_the_nearest_rank(fraction: float, answer: float) -> None:
    assert percentile(list(range(100, 0, -1)), [1] * 100, fraction) == answer


def test_a_percentile_goes_by_weight_not_by_number() -> None:
    assert percentile([1, 2, 3], [1, 1, 98], 0.05) == 3


@given(st.floats(-1e6, 1e6), st.lists(st.floats(1e-3, 1e6), min_size=1), st.floats(0, 1))
def test_every_percentile_of_a_constant_is_that_constant(value: float, weights: list[float], at: float) -> None:
    assert percentile([value] * len(weights), weights, at) == value


@given(weighted, st.floats(0, 1), st.floats(0, 1))
def test_percentiles_rise_with_the_fraction(pairs: list[tuple[float | None, float]], a: float, b: float) -> None:
    values, weights = [v for v, _ in pairs], [w for _, w in pairs]
    low, high = percentile(values, weights, min(a, b)), percentile(values, weights, max(a, b))
    assert low == high or (low is not None and high is not None and low < high)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction must lie in"):
        percentile([1], [1], fraction)


def test_slope_and_score_agree_with_pymannkendall() -> None:
    slope, score = trend_room._slope_and_score(range(60), HOUR)
    assert slope == pytest.approx(0.13548951048951047)
    assert score == 507
    assert trend_room._score_variance(HOUR) == pytest.approx(24363.666666666668)


def test_the_hamed_rao_p_value_agrees_with_pymannkendall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trend_room, "_worst_case", lambda *_: 0.0)
    assert trend(HOUR, 60, 5).word == "increasing"
    assert numbers(trend(HOUR, 60, 5)) == pytest.approx((8.129370629370628, 0.023339085456156372))


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
    assert trend_room._slope_variance(positions, persistence) == pytest.approx(expected, rel=1e-5)


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
    assert numbers(answer)[1] < 0.001


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


def test_the_highest_bucket_always_counts() -> None:
    assert peaks([1, 2, 3]) == [2]
    assert peaks([3, 2, 1]) == [0]
    assert peaks([5, 5, 5]) == [0]
    assert peaks([None, 4, None]) == [1]


def test_without_a_recorded_bucket_there_is_no_peak() -> None:
    assert peaks([]) == []
    assert peaks([None] * 48) == []


def test_two_busy_times_a_day_are_two_peaks() -> None:
    assert peaks(humps(Random(1), sigma=1)) == [28, 37]


def test_two_busy_times_are_found_through_noise() -> None:
    random = Random("noisy humps")
    assert sum(len(peaks(humps(random, sigma=3))) == 2 for _ in range(100)) >= 90


def test_noise_mostly_shows_its_highest_bucket_alone() -> None:
    random = Random("flat")
    assert sum(len(peaks(noise(random, 0, 5, 48))) == 1 for _ in range(200)) >= 170


def test_maxima_and_prominences_agree_with_scipy() -> None:
    assert {i: peak_room._prominence(DAY, i) for i in peak_room._local_maxima(DAY)} == DAY_MAXIMA
    assert peaks(DAY) == [8, 29]


def test_a_plateau_counts_by_its_first_bucket() -> None:
    assert peaks([0, 9, 9, 9, 0, 0, 0, 8, 8, 0, 0]) == [1, 7]


def test_of_two_near_peaks_the_higher_stays() -> None:
    day = [0, 8, 0, 9, 0, 0, 0, 0, 0, 0]
    assert peaks(day, distance=2) == [1, 3]
    assert peaks(day, distance=3) == [3]


def test_the_highest_peaks_come_first_and_are_told_in_time_order() -> None:
    day = [0, 0, 0, 6, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0]
    assert peaks(day, count=3) == [7, 11, 15]


def test_a_lone_bucket_in_a_gap_is_no_peak_by_itself() -> None:
    assert peaks([1, 9, 1, 1, 1, None, 2, None, 2, 2, 2, 2]) == [1]
    assert peaks([1, 9, 1, 1, 1, None, 8, None, 1, 1, 1, 1]) == [1, 6]


def test_the_flank_at_the_edge_of_the_window_is_no_peak() -> None:
    assert peaks([8, 0, 0, 0, 9, 0, 0, 0, 8]) == [4]


def test_a_bump_of_less_than_a_quarter_of_the_range_is_no_peak() -> None:
    assert peaks([0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0]) == [7]


def test_a_peak_must_reach_the_prominence_asked_for() -> None:
    day = [0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0]
    assert peaks(day, minimum_prominence=5) == [3, 7]
    assert peaks(day, minimum_prominence=5.1) == [7]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"distance": 0}])
def test_a_count_or_distance_below_one_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        peaks([1], **wrong)


@given(gappy, st.integers(1, 5), st.integers(1, 6))
def test_peaks_are_few_in_order_and_apart(means: list[float | None], count: int, distance: int) -> None:
    found = peaks(means, count, distance)
    assert len(found) <= count
    assert all(b - a >= distance for a, b in pairwise(found))
    assert all(means[i] is not None for i in found)


@given(gappy)
def test_the_first_of_the_highest_buckets_is_among_the_peaks(means: list[float | None]) -> None:
    recorded = [v for v in means if v is not None]
    assume(recorded)
    assert means.index(max(recorded)) in peaks(means, count=1)


@given(gappy, whole)
def test_peaks_stay_where_they_are_when_all_is_raised_and_doubled(means: list[float | None], by: float) -> None:
    assert peaks([v if v is None else 2 * v + by for v in means]) == peaks(means)
