"""Peaks: fixed cases, what must always hold, and how seldom noise shows a second one."""

from itertools import pairwise
from math import exp
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.analysis.peaks import local_maxima, peaks, prominence, standing

# Whole numbers, so that shifting and doubling a series is exact.
whole = st.integers(-1000, 1000).map(float)
gappy = st.lists(st.none() | whole, max_size=60)

# An integer AR(1) walk of 48. Oracle: scipy 1.17.1, find_peaks(DAY, prominence=0, plateau_size=1): edges, prominences.
DAY = [49, 51, 50, 49, 45, 45, 51, 52, 56, 56, 56, 56, 48, 52, 53, 55, 47, 41, 39, 39, 43, 44, 47, 45]
DAY += [47, 50, 47, 54, 56, 59, 55, 51, 49, 49, 52, 52, 50, 46, 45, 51, 47, 49, 51, 45, 46, 52, 44, 44]
DAY_MAXIMA = {1: 2, 8: 11, 15: 7, 22: 2, 25: 3, 29: 15, 34: 3, 39: 6, 42: 6, 45: 7}


def humps(random: Random, sigma: float) -> list[float]:
    """Two busy times a day, at buckets 28 (14:00) and 37 (18:30)."""
    day = [20 + 40 * exp(-(((i - 28) / 3) ** 2)) + 30 * exp(-(((i - 37) / 2) ** 2)) for i in range(48)]
    return [v + random.gauss(0, sigma) for v in day]


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
    assert sum(len(peaks([random.gauss(0, 5) for _ in range(48)])) == 1 for _ in range(200)) >= 170


def test_maxima_and_prominences_agree_with_scipy() -> None:
    assert {i: prominence(DAY, i) for i in local_maxima(DAY)} == DAY_MAXIMA
    assert peaks(DAY) == [8, 29]


def test_a_plateau_counts_by_its_first_bucket() -> None:
    assert peaks([0, 9, 9, 9, 0, 0, 0, 8, 8, 0, 0]) == [1, 7]


def test_a_plateau_on_the_way_up_is_none() -> None:
    assert local_maxima([0, 5, 5, 9, 0, 2, 2, 1, 1, 0]) == [3, 5]


def test_of_two_near_peaks_the_higher_stays() -> None:
    day = [0, 8, 0, 9, 0, 0, 0, 0, 0, 0]
    assert peaks(day, distance=2) == [1, 3]
    assert peaks(day, distance=3) == [3]


def test_the_highest_peaks_are_chosen_and_given_in_time_order() -> None:
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


def test_a_bucket_stands_as_far_above_the_others_as_one_must_descend_from_it() -> None:
    assert standing([1, 9, 3, 5, 2], 1) == 7
    assert standing([1, 9, 3, 5, 2], 3) == 2
    assert standing([1, None, 9], 2) == 8
    assert standing([9, 4, 6], 0) == 5
    assert standing([None, 9, None], 1) is None
