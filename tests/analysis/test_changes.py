"""A change is named where it is beyond its own usual variation, and noise is not."""

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analysis.changes import LEAST_CHANGES, LEAST_SCORE, score

numbers = st.floats(-1e6, 1e6, allow_nan=False)
many = st.lists(numbers, min_size=LEAST_CHANGES, max_size=200)
leasts = st.floats(1e-3, 1e5)


def noise(kind: str, count: int, random: Random) -> list[float]:
    """Window means of a load that does not change: even, slow, with bursts, with long tails, or with days."""
    found: list[float] = []
    slow = 0.0
    for number in range(count):
        if kind == "burst":
            found.append(50.0 * (random.random() < 0.05) + random.gauss(10, 0.5))
        elif kind == "tail":
            found.append(10 * random.expovariate(1))
        elif kind == "day":
            found.append(30 * max(0.0, math.sin(number / 24 * 2 * math.pi)) + random.gauss(10, 2))
        else:
            keeps = float(kind)
            slow = keeps * slow + random.gauss(0, math.sqrt(1 - keeps * keeps))
            found.append(40 + 10 * slow)
    return found


@pytest.mark.parametrize("kind", ["0", "0.9", "0.99", "burst", "tail", "day"])
@pytest.mark.parametrize("lag", [1, 24])
def test_of_windows_of_stationary_noise_less_than_5_of_100_name_anything(kind: str, lag: int) -> None:
    """Of eight metrics at once, each by itself."""
    random, named, windows = Random(7), 0, 80
    for _ in range(windows):
        scores = []
        for _ in range(8):
            load = noise(kind, 169 + lag, random)
            moved = [after - before for before, after in zip(load, load[lag:], strict=False)]
            scores.append(score(moved[-1], moved[:-1], 0.5) or 0.0)
        named += max(scores) >= LEAST_SCORE
    assert named < 0.05 * windows


@pytest.mark.parametrize("kind", ["0", "0.9", "day"])
def test_what_is_far_beyond_the_noise_is_named(kind: str) -> None:
    load = noise(kind, 170, Random(3))
    moved = [after - before for before, after in pairwise(load)]
    for step in (400, -400):
        assert (score(step, moved, 5) or 0) > LEAST_SCORE


def test_what_happens_each_day_is_usual_and_what_happened_once_is_not() -> None:
    nightly = [0.0] * 168
    for day in range(7):
        nightly[24 * day + 2], nightly[24 * day + 3] = 60.0, -60.0
    assert (score(60, nightly, 5) or 0) < LEAST_SCORE
    once = [0.0] * 168
    once[50], once[52] = 60.0, -60.0
    assert (score(60, once, 5) or 0) >= LEAST_SCORE


@pytest.mark.parametrize(
    ("usual", "change", "expected"),
    [
        ([-1.0, 1.0] * 84, 14.826, 10.0),  # the scaled median deviation
        ([0.0] * 197 + [40.0] * 3, 80.0, 5.0),  # twice the largest but two of 200
        ([0.0] * 198 + [40.0] * 2, 80.0, 400.0),  # only the least change: two of 200 are incidents
        ([0.0] * 157 + [40.0] * 3, 80.0, 5 * math.log(160) / math.log(168)),  # more than twice, among few
        ([0.0] * 158 + [40.0] * 2, 80.0, 400.0),
        ([0.0] * 77 + [40.0] * 2, 80.0, 5 * math.log(79) / math.log(168)),
    ],
)
def test_the_score_by_hand(usual: list[float], change: float, expected: float) -> None:
    assert score(change, usual, 1.0) == pytest.approx(expected, rel=1e-9)


def test_steady_growth_is_usual_and_its_end_is_not() -> None:
    growing = [10.0] * 100
    assert score(10, growing, 5) == 0
    assert (score(-10, growing, 5) or 0) >= LEAST_SCORE


def test_too_few_changes_say_nothing() -> None:
    assert score(1e9, [0.0] * (LEAST_CHANGES - 1), 1) is None
    assert score(1e9, [0.0] * LEAST_CHANGES, 1) is not None


@given(many, leasts, st.floats(0, 0.999))
def test_what_is_smaller_than_its_least_change_scores_nothing(usual: list[float], least: float, share: float) -> None:
    assert score(share * least, usual, least) == 0
    assert score(-share * least, usual, least) == 0


def test_what_never_changed_is_named_from_its_least_change_on() -> None:
    assert score(5, [0.0] * 50, 5) == pytest.approx(LEAST_SCORE)


@given(many, numbers, leasts, st.floats(0.01, 100))
def test_the_unit_does_not_matter(usual: list[float], change: float, least: float, factor: float) -> None:
    assert score(factor * change, [factor * one for one in usual], factor * least) == pytest.approx(
        score(change, usual, least), rel=1e-6, abs=1e-6
    ) or abs(abs(change) - least) < 1e-6 * (least + abs(change))


@given(many, numbers, leasts)
def test_order_and_sign_do_not_matter(usual: list[float], change: float, least: float) -> None:
    assert score(change, usual[::-1], least) == score(change, usual, least)
    assert score(-change, [-one for one in usual], least) == pytest.approx(score(change, usual, least))


@given(many, st.floats(1, 1e9), st.floats(1, 1e9), leasts)
def test_more_is_never_less_unusual(usual: list[float], change: float, more: float, least: float) -> None:
    middle = sorted(usual)[len(usual) // 2]
    small, large = abs(middle) + 2e6 + change, abs(middle) + 2e6 + change + more
    assert (score(small, usual, least) or 0) <= (score(large, usual, least) or 0) + 1e-9
