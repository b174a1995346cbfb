"""Futures: how uncertain drift and variance are, and what of it comes from days that differ."""

from math import inf, sqrt
from random import Random
from statistics import median, stdev

import pytest

from benchmarks.foresight import hours_of, wandering
from benchmarks.honesty import ar1
from service.analysis.futures import futures, variance_missed

WEEK = 7 * 24


def test_the_variance_that_a_profile_took_off_is_added_again() -> None:
    level = hours_of(ar1(0, 1), WEEK, Random("lost"))
    plain, added = futures(level, 24, inf)[0], futures(level, 24, 3)[0]
    assert added.spread == pytest.approx(plain.spread * sqrt(1.5))


def test_in_errors_that_do_not_depend_on_the_day_hardly_any_variance_was_missed() -> None:
    random = Random("errors")
    found = [variance_missed([(-i, random.gauss(0, 1)) for i in range(2 * WEEK)], 24)[0] for _ in range(30)]
    assert all(ratio >= 1 for ratio in found)
    assert median(found) < 1.3


def test_of_good_and_bad_days_the_variance_is_missed_by_as_many_times_as_a_day_has_hours() -> None:
    random = Random("moods")
    days = [random.gauss(0, 1) for _ in range(15)]
    ratio, freedom = variance_missed([(-i, days[i // 24]) for i in range(2 * WEEK)], 24)
    assert ratio > 20
    assert 3 <= freedom < 16


def test_where_nothing_is_wrong_no_variance_was_missed() -> None:
    assert variance_missed([(-i, 0.0) for i in range(WEEK)], 24) == (1.0, inf)


@pytest.mark.parametrize("days", [7, 28])
def test_the_futures_differ_in_their_growth_as_a_walk_of_so_many_days_would(days: int) -> None:
    random = Random(f"walk of {days}")
    found = []
    for _ in range(10):
        level = hours_of(wandering(1), days * 24, random)
        found.append(stdev(24 * future.rate for future in futures(level, 24, inf)))
    assert 0.6 / sqrt(days) < median(found) < 1.7 / sqrt(days)
