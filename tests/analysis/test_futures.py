"""Futures: how uncertain drift and variance are, and what of it comes from days that differ."""

from dataclasses import replace
from math import exp, fsum, inf, log, sqrt
from random import Random
from statistics import mean, median, stdev

import pytest

from benchmarks.foresight import hours_of, wandering
from benchmarks.honesty import ar1
from service.analysis import futures as analysis
from service.analysis.futures import Future, futures, passages, variance_missed

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


def test_the_variance_that_was_missed_is_drawn_towards_none_by_as_much_as_ten_days_weigh() -> None:
    """Errors of one a day, alike in three of four pairs of days: their sums vary half as much again."""
    errors = [(-i, sign) for i, sign in enumerate((1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0))]
    belief = 10 / 1.5**2
    ratio, freedom = variance_missed(errors, 1)
    assert ratio == pytest.approx((belief + 4 * 1.5) / (belief + 4))
    assert freedom == pytest.approx(belief + 4)


def solve(matrix: list[list[float]], right: list[list[float]]) -> tuple[list[list[float]], float]:
    """What the matrix times it is `right`, and the matrix's determinant, by Gauss and Jordan."""
    rows, determinant = [[*a, *b] for a, b in zip(matrix, right, strict=True)], 1.0
    for at in range(len(rows)):
        pivot = rows[at][at]
        determinant *= pivot
        rows[at] = [value / pivot for value in rows[at]]
        for other in range(len(rows)):
            if other != at:
                factor = rows[other][at]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[at], strict=True)]
    return [row[len(matrix) :] for row in rows], determinant


@pytest.mark.parametrize("lost", [1.0, 1.5])
@pytest.mark.parametrize(("fading", "wandering"), [(0.0, 0.0), (0.0, 0.9999), (0.8, 0.1), (0.6, 0.3)])
def test_the_filter_gives_what_least_squares_over_all_values_at_once_give(
    fading: float, wandering: float, lost: float
) -> None:
    """The textbook's way, with the whole matrix of covariances: Harville (1977)."""
    points = [(-9, 1.0), (-8, 1.5), (-6, 1.2), (-5, 3.0), (-3, 2.5), (-1, 4.0), (0, 3.5)]
    spread = (1 - wandering) / (1 - fading**2)
    covariance = [
        [wandering * (min(a, b) + 9) + spread * (fading ** abs(a - b) if a != b else 1.0) for b, _ in points]
        for a, _ in points
    ]
    (weighted, determinant) = solve(covariance, [[1.0, float(step), value] for step, value in points])
    design = [[1.0, float(step)] for step, _ in points]
    information = [[fsum(x[i] * w[j] for x, w in zip(design, weighted, strict=True)) for j in range(2)] for i in (0, 1)]
    right = [[fsum(x[i] * w[2] for x, w in zip(design, weighted, strict=True))] for i in range(2)]
    (((level,), (growth,)), determinant_of_information) = solve(information, right)
    residuals = [value - level - growth * step for step, value in points]
    against = [w[2] - level * w[0] - growth * w[1] for w in weighted]
    square = lost * fsum(a * b for a, b in zip(residuals, against, strict=True))
    fit, errors = analysis._fit(points, fading, wandering, 0.25, lost)
    assert (fit.level, fit.growth, fit.square, fit.freedom) == (
        pytest.approx(level),
        pytest.approx(growth),
        pytest.approx(square),
        5,
    )
    assert fit.information == pytest.approx((information[0][0], information[0][1], determinant_of_information))
    logs = log(determinant) + log(determinant_of_information) + 5 * log(square)
    assert fit.weight == pytest.approx(log(0.25) - logs / 2)
    assert lost * fsum(error**2 for _, error in errors) == pytest.approx(square)
    assert [step for step, _ in errors] == [step for step, _ in points]

    # What wandered until now, given the values (its best linear unbiased prediction), and what futures begin with.
    wandered = fsum(wandering * (step + 9) * a for (step, _), a in zip(points, against, strict=True))
    drawn = [analysis._future(Random(number), fit, (1.0, inf), 3.5) for number in range(2000)]
    assert mean(future.level for future in drawn) == pytest.approx(level + wandered, abs=0.1)
    assert mean(future.rate for future in drawn) == pytest.approx(growth, abs=0.02)
    assert {round(future.level + future.noise, 9) for future in drawn} == {3.5}
    # A variance drawn from five degrees of freedom is on average 5 / 3 of what was found.
    variance = square / 5
    of_growth = information[0][0] / determinant_of_information
    assert stdev(future.rate for future in drawn) ** 2 == pytest.approx(variance * 5 / 3 * of_growth, rel=0.25)
    assert mean(future.wander**2 for future in drawn) == pytest.approx(variance * 5 / 3 * wandering, rel=0.25)
    assert mean(future.spread**2 for future in drawn) == pytest.approx(variance * 5 / 3 * spread, rel=0.25)


def test_the_pairs_of_the_grid_are_half_walks_and_weigh_one_together() -> None:
    points = [(-WEEK + 1 + i, 0.0) for i in range(WEEK)]
    grid = list(analysis._grid(points, 24))
    assert grid[0] == (0.0, 0.9999, 0.5)
    assert fsum(prior for *_, prior in grid) == pytest.approx(1)
    # Noise may fade in at most a sixteenth of what is recorded: ten hours.
    assert sorted({fading for fading, *_ in grid}) == [0.0, pytest.approx(exp(-1 / 2)), pytest.approx(exp(-1 / 6))]
    assert sum(prior for _, wandering, prior in grid if not wandering) == pytest.approx(0.35)
    assert max(fading for fading, *_ in analysis._grid(points, 12)) == pytest.approx(exp(-1 / 7.5))
    assert max(fading for fading, *_ in analysis._grid([(-96, 0.0), (0, 0.0)], 24)) == pytest.approx(exp(-1 / 6))


# -- when a future reaches the limit


def still(**moving: float) -> Future:
    return replace(Future(level=0.0, noise=0.0, rate=0.0, wander=0.0, spread=0.0, fading=0.0), **moving)


@pytest.mark.parametrize(
    ("future", "profile", "steps"),
    [
        (still(rate=1.0), [0.0], 10),
        (still(rate=0.3), [0.0], 34),
        (still(rate=1.0, level=4.0), [0.0], 6),
        (still(), [0.0], inf),
        (still(rate=-1.0), [0.0], inf),
        # The last of a profile belongs to the present, the first to the next step: 10 of 24 are reached a day later.
        (still(rate=0.1), [8.0] + [0.0] * 23, 25),
        (still(rate=0.1), [9.95] + [0.0] * 23, 1),
        (still(rate=0.1), [0.0] * 5 + [9.5] + [0.0] * 18, 6),
        (still(rate=0.1), [0.0] * 23 + [8.0], 24),
    ],
)
def test_without_chance_the_limit_is_reached_when_it_is(future: Future, profile: list[float], steps: float) -> None:
    assert passages([future], profile, 10.0, 400) == [steps]


def test_beyond_the_longest_it_is_not_reached() -> None:
    assert passages([still(rate=1.0)], [0.0], 10.0, 10) == [10]
    assert passages([still(rate=1.0)], [0.0], 10.0, 9) == [inf]


def stepwise(random: Random, future: Future, limit: float, longest: int) -> float:
    """The same, one step after the other."""
    level, noise = future.level, future.noise
    for step in range(1, longest + 1):
        level += future.rate + future.wander * random.gauss(0, 1)
        noise = future.fading * noise + future.spread * sqrt(1 - future.fading**2) * random.gauss(0, 1)
        if level + noise >= limit:
            return step
    return inf


@pytest.mark.parametrize(
    "future",
    [
        still(wander=1.0, rate=0.2),
        still(rate=0.1, spread=2.0),
        still(rate=0.1, spread=2.0, fading=0.8),
        still(rate=0.02, spread=2.0, fading=0.8),
        still(rate=0.1, wander=0.5, spread=1.0, fading=0.5, noise=-1.0),
    ],
    ids=["walk", "noise", "noise that fades slowly", "noise and slow growth", "all"],
)
def test_steps_that_are_skipped_leave_when_the_limit_is_reached(future: Future) -> None:
    """Quarter, half and three quarters of 1,500 futures, held against as many drawn one step after the other."""
    random = Random("stepwise")
    number, longest = 1500, 1200
    quick = sorted(passages([future] * number, [0.0], 20.0, longest))
    slow = sorted(stepwise(random, future, 20.0, longest) for _ in range(number))
    for at in (number // 4, number // 2, 3 * number // 4):
        assert quick[at] == slow[at] or quick[at] == pytest.approx(slow[at], rel=0.1)


@pytest.mark.parametrize("days", [7, 28])
def test_the_futures_differ_in_their_growth_as_a_walk_of_so_many_days_would(days: int) -> None:
    random = Random(f"walk of {days}")
    found = []
    for _ in range(10):
        level = hours_of(wandering(1), days * 24, random)
        found.append(stdev(24 * future.rate for future in futures(level, 24, inf)))
    assert 0.6 / sqrt(days) < median(found) < 1.7 / sqrt(days)
