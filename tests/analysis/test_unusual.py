"""Unusual hours: fixed cases, what must always hold, how seldom a usual hour is called one."""

from math import exp
from random import Random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.foresight import LEAST_DIFFERENCE, event, hours_of
from benchmarks.honesty import Load, ar1, skewed
from service.analysis.recurrence import MINIMUM_DAYS
from service.analysis.unusual import UNUSUAL_DEVIATIONS, Unusual, unusual

# Whole numbers, so that shifting and doubling is exact.
whole = st.integers(-1000, 1000).map(float)
earlier_days = st.lists(st.none() | whole, max_size=28)


def test_an_hour_far_from_the_same_hour_of_other_days_is_unusual() -> None:
    answer = unusual(60, [10, 12, 11, 9, 10, 11, 10], 15)
    assert answer == Unusual(10.0, pytest.approx(1.4826), pytest.approx(50 / 1.4826))


def test_an_hour_far_below_is_unusual_too() -> None:
    answer = unusual(5, [60, 62, 61, 59, 60, 61, 60], 15)
    assert answer is not None
    assert answer.score < 0


def test_days_that_were_all_the_same_have_the_floor_as_their_spread() -> None:
    answer = unusual(25, [10.0] * 14, 15)
    assert answer == Unusual(10.0, pytest.approx(15 / 9), pytest.approx(9))
    assert unusual(24.9, [10.0] * 14, 15) is None


def test_fewer_than_seven_days_make_no_hour_unusual() -> None:
    assert unusual(90, [10.0] * 6 + [None] * 9, 15) is None
    assert unusual(90, [10.0] * 7, 15) is not None


@pytest.mark.parametrize("least", [0.0, -1.0])
def test_a_least_difference_of_nothing_is_refused(least: float) -> None:
    with pytest.raises(ValueError, match="minimum_difference must be above 0"):
        unusual(1, [], least)


def test_a_weekend_is_not_unusual_where_weekends_were_seen() -> None:
    days: list[float | None] = [60.0, 61.0, 59.0, 62.0, 60.0, 10.0, 11.0] * 2
    assert unusual(9, days, 15) is None
    assert unusual(9, [v for v in days if v and v > 50], 15) is not None


def test_an_hour_like_one_that_was_before_is_not_unusual() -> None:
    assert unusual(95, [10, 11, 12, 10, 60, 11, 10, 9, 11, 10], 15) is None


def test_an_hour_is_not_unusual_by_its_logarithm_alone() -> None:
    days: list[float | None] = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0]
    assert unusual(0, [*days, 40.0], 1) is None
    assert unusual(0, [*days, 90.0], 1) is not None


def test_where_it_is_mostly_idle_a_busy_hour_was_there_before() -> None:
    days: list[float | None] = [1.0, 1.2, 0.9, 1.0, 1.1, 1.0]
    assert unusual(27, [*days, 12.0], 5) is None
    assert unusual(27, [*days, 2.0], 5) is not None


def test_an_hour_is_not_unusual_by_its_own_scale_alone() -> None:
    normal = [NormalDist().inv_cdf((i + 0.5) / 14) for i in range(14)]
    assert unusual(10 * exp(7), [10 * exp(v) for v in normal], 0.1) is None
    assert unusual(10 * exp(7), [10 * exp(v / 2) for v in normal], 0.1) is not None


@given(whole, earlier_days, st.integers(1, 50))
def test_what_is_unusual_is_what_it_says(value: float, earlier: list[float | None], least: int) -> None:
    answer = unusual(value, earlier, least)
    known = sorted(v for v in earlier if v is not None)
    if answer is not None:
        assert len(known) >= MINIMUM_DAYS
        assert known[0] <= answer.expected <= known[-1]
        assert abs(value - answer.expected) >= least
        assert not known[0] <= value <= known[-1]
        assert abs(answer.score) >= UNUSUAL_DEVIATIONS
        assert answer.score == (value - answer.expected) / answer.spread


@given(earlier_days, st.integers(1, 50))
def test_an_hour_as_expected_is_never_unusual(earlier: list[float | None], least: int) -> None:
    for value in {v for v in earlier if v is not None}:
        assert unusual(value, earlier, least) is None


@pytest.mark.parametrize("load", [ar1(0, 5), ar1(0.5, 10), skewed(0.1)], ids=["white", "AR(1)", "exp AR(1)"])
def test_an_hour_of_the_usual_load_is_seldom_unusual(load: Load) -> None:
    random = Random("usual")
    days = [hours_of(load, 15, random) for _ in range(1500)]
    assert sum(unusual(v[-1] or 0, v[:-1], LEAST_DIFFERENCE) is not None for v in days) <= 6


def test_forty_points_more_are_nearly_always_found() -> None:
    random = Random("event")
    days = [hours_of(event(2), 15, random) for _ in range(200)]
    assert sum(unusual(v[-1] or 0, v[:-1], LEAST_DIFFERENCE) is not None for v in days) >= 180
