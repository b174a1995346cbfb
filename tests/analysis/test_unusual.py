"""Unusual hours: fixed cases, what must always hold, how seldom a usual hour is called one."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.foresight import event, hours_of, is_unusual
from benchmarks.honesty import Load, ar1, skewed
from service.analysis.unusual import REACH, Unusual, Usual, unusual, usual

# Whole numbers, so that shifting and doubling is exact.
whole = st.integers(-1000, 1000).map(float)
some_hours = st.lists(st.none() | whole, max_size=28)


def days_of(*days: float | None) -> Usual:
    """What one hour of these days says, the only one of a day."""
    return usual(days, [0] * len(days))


def test_an_hour_far_from_the_same_hour_of_other_days_is_unusual() -> None:
    known = days_of(10, 12, 11, 9, 10, 11, 40)
    assert known == Usual({0: 11.0}, 29.0)
    assert unusual(60, 0, known, 15) == Unusual(11.0, 43.5, pytest.approx(49 / 43.5))
    assert unusual(54, 0, known, 15) is None


def test_an_hour_far_below_is_unusual_too() -> None:
    answer = unusual(5, 0, days_of(60, 62, 61, 59, 60, 61, 60), 15)
    assert answer is not None
    assert answer.score < -1


def test_days_that_were_all_the_same_leave_the_least_difference() -> None:
    assert unusual(25, 0, days_of(*[10.0] * 14), 15) == Unusual(10.0, 15.0, 1.0)
    assert unusual(24.9, 0, days_of(*[10.0] * 14), 15) is None


def test_fewer_than_seven_days_make_no_hour_unusual() -> None:
    assert unusual(90, 0, days_of(*[10.0] * 6, *[None] * 9), 15) is None
    assert unusual(90, 0, days_of(*[10.0] * 7), 15) is not None
    assert unusual(90, 1, days_of(*[10.0] * 7), 15) is None


def test_of_no_hours_nothing_is_usual_and_each_has_its_place() -> None:
    assert days_of() == days_of(None) == Usual({}, 0.0)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        usual([1.0, 2.0], [0])


def test_the_farthest_is_what_all_but_one_of_two_hundred_reach() -> None:
    """Of 400 hours, two are left out."""
    hours = [50.0] * 395 + [51.0, 52.0, 53.0, 54.0, 55.0]
    assert usual(hours, [0] * 400).farthest == 3.0


@pytest.mark.parametrize("least", [0.0, -1.0])
def test_a_least_difference_of_nothing_is_refused(least: float) -> None:
    with pytest.raises(ValueError, match="minimum_difference must be above 0"):
        unusual(1, 0, days_of(), least)


def test_what_other_hours_of_the_day_do_is_not_unusual_at_this_one() -> None:
    """A burst may come at any hour, also at one that has not seen it yet."""
    days = [[10.0] * 24 for _ in range(14)]
    quiet = usual([v for day in days for v in day], list(range(24)) * 14)
    for number, day in enumerate(days):
        day[number % 20 + 1] = 70.0
    bursts = usual([v for day in days for v in day], list(range(24)) * 14)
    assert unusual(75, 0, quiet, 15) is not None
    assert unusual(75, 0, bursts, 15) is None


def test_a_weekend_is_not_unusual_where_weekends_were_seen() -> None:
    days = [60.0, 61.0, 59.0, 62.0, 60.0, 10.0, 11.0] * 2
    assert unusual(9, 0, days_of(*days), 15) is None
    assert unusual(9, 0, days_of(*[v for v in days if v > 50]), 15) is not None


@given(whole, some_hours, st.integers(1, 50))
def test_what_is_unusual_is_what_it_says(value: float, earlier: list[float | None], least: int) -> None:
    known = days_of(*earlier)
    answer = unusual(value, 0, known, least)
    if answer is not None:
        assert abs(value - answer.expected) >= max(least, REACH * known.farthest)
        assert answer.score == (value - answer.expected) / answer.least


@given(some_hours, st.integers(1, 50))
def test_an_hour_as_it_was_on_an_earlier_day_is_never_unusual(earlier: list[float | None], least: int) -> None:
    for value in {v for v in earlier if v is not None}:
        assert unusual(value, 0, days_of(*earlier), least) is None


@pytest.mark.parametrize("load", [ar1(0, 5), ar1(0.5, 10), skewed(0.9)], ids=["white", "AR(1)", "exp AR(1)"])
def test_an_hour_of_the_usual_load_is_seldom_unusual(load: Load) -> None:
    random = Random("usual")
    assert sum(is_unusual(hours_of(load, 15 * 24, random)) for _ in range(500)) <= 5


def test_forty_points_more_are_nearly_always_found() -> None:
    random = Random("event")
    assert sum(is_unusual(hours_of(event(5), 15 * 24, random)) for _ in range(200)) >= 190
