"""Forecasts: what must always hold, when there is none, and how often the interval holds the moment."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil, exp, floor, hypot, inf, log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.foresight import forecast as made
from benchmarks.foresight import growing, holds, nightly, steady, wandering
from benchmarks.honesty import ar1, total
from service.analysis import forecast
from service.analysis.forecast import (
    MIDDLE_AT_MOST,
    RATE_DOUBT,
    WIDER_BEYOND_DAYS,
    WIDER_POWER,
    Filling,
    grows_throughout,
    interval,
    learnt,
    time_to_full,
    widened,
)
from service.analysis.futures import DRAWS

HOUR, DAY = 3600.0, 86400.0
WEEK = 7 * 24
LOADS = dict(growing())
# Whole numbers, so that shifting and doubling a history is exact.
histories = st.builds(
    lambda seed, growth, sigma, days, missing: history(Random(seed), growth, sigma, days * 24, missing),
    seed=st.integers(0, 10**6),
    growth=st.integers(-20, 60),
    sigma=st.sampled_from([0, 1, 5, 20, 60]),
    days=st.integers(3, 16),
    missing=st.sampled_from([0.0, 0.05, 0.2]),
)


def history(random: Random, growth: float, sigma: float, hours: int, missing: float = 0.0) -> list[float | None]:
    walked, values = 0.0, list[float | None]()
    for hour in range(hours):
        walked += random.gauss(0, sigma / 5)
        value = float(round(growth * hour / 24 * 4 + walked + random.gauss(0, sigma)))
        values.append(None if random.random() < missing else value)
    return values


def highest(values: list[float | None]) -> float:
    return max((v for v in values if v is not None), default=0.0)


def found(answer: Filling | None) -> Filling:
    assert answer is not None
    return answer


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 400))
def test_a_forecast_is_of_growth_and_its_moments_come_in_order(values: list[float | None], room: int) -> None:
    answer = time_to_full(values, HOUR, highest(values) + room)
    if answer is not None:
        assert answer.growth_per_day > 0
        assert 0 < answer.earliest_seconds <= answer.middle_seconds
        assert answer.latest_seconds is None or answer.middle_seconds <= answer.latest_seconds
        assert answer.middle_seconds <= MIDDLE_AT_MOST * len(values) * HOUR


@settings(max_examples=30, deadline=None)
@given(histories, st.integers(1, 400), st.sampled_from([2.0**-60, 1024.0, 2.0**40]))
def test_in_another_unit_it_is_full_at_the_same_time(values: list[float | None], room: int, unit: float) -> None:
    limit = highest(values) + room
    answer = time_to_full(values, HOUR, limit)
    other = time_to_full([None if v is None else v * unit for v in values], HOUR, limit * unit)
    assert (answer is None) == (other is None)
    if answer is not None and other is not None:
        assert other == replace(answer, growth_per_day=answer.growth_per_day * unit)


@settings(max_examples=30, deadline=None)
@given(histories, st.integers(1, 400), st.integers(-(2**20), 2**20))
def test_only_the_room_that_is_left_matters(values: list[float | None], room: int, shift: int) -> None:
    shifted = [None if v is None else v + shift for v in values]
    limit = highest(values) + room
    assert time_to_full(shifted, HOUR, limit + shift) == time_to_full(values, HOUR, limit)


@settings(max_examples=20, deadline=None)
@given(histories, st.integers(1, 400))
def test_the_same_history_gives_the_same_answer(values: list[float | None], room: int) -> None:
    assert time_to_full(values, HOUR, highest(values) + room) == time_to_full(
        list(values), HOUR, highest(values) + room
    )


@given(st.floats(-1e6, 1e6), st.integers(0, 800), st.floats(0.1, 1e6))
def test_a_constant_is_never_full(value: float, hours: int, room: float) -> None:
    assert time_to_full([value] * hours, HOUR, value + room) is None


@pytest.mark.parametrize("step", [0.0, -1.0, 14401.0, float("nan")])
def test_a_step_that_no_day_is_made_of_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match="step_seconds must be above 0"):
        time_to_full([1.0, 2.0], step, 3.0)


@pytest.mark.parametrize("values", [[], [None], [None] * 200, [1.0]])
def test_without_values_there_is_no_forecast(values: list[float | None]) -> None:
    assert time_to_full(values, HOUR, 10) is None


def test_a_straight_line_is_full_when_it_is() -> None:
    line = [hour / 24 for hour in range(WEEK)]
    # After 71 hours it has grown by 2.96, after 72 by 3.
    answer = found(time_to_full(line, HOUR, line[-1] + 2.98))
    assert answer == Filling(pytest.approx(1), 3 * 86400, 3 * 86400, 3 * 86400)


def test_the_time_counts_from_the_last_value_that_is_known() -> None:
    line: list[float | None] = [hour / 24 for hour in range(WEEK)]
    assert time_to_full([*line, None, None], HOUR, 10) == time_to_full(line, HOUR, 10)


def test_it_needs_a_week() -> None:
    line = [hour / 24 for hour in range(WEEK)]
    assert time_to_full(line[:-1], HOUR, 9) is None
    assert time_to_full(line, HOUR, 9) is not None


def test_other_steps_than_hours_are_as_good() -> None:
    quarters = [step / 96 for step in range(8 * 96)]
    answer = found(time_to_full(quarters, 900, quarters[-1] + 0.995))
    assert answer.growth_per_day == pytest.approx(1)
    assert answer.middle_seconds == 86400


def test_what_is_full_already_has_no_forecast() -> None:
    line = [hour / 24 for hour in range(WEEK)]
    assert time_to_full(line, HOUR, line[-1]) is None


def test_one_step_is_no_growth() -> None:
    random = Random("step")
    step = [10.0 * (hour > 100) + random.gauss(0, 0.1) for hour in range(2 * WEEK)]
    assert time_to_full(step, HOUR, 30) is None


def test_what_shrank_lately_has_no_forecast() -> None:
    random = Random("turn")
    turned = [(hour if hour < 240 else 480 - hour) / 24 + random.gauss(0, 0.1) for hour in range(2 * WEEK)]
    assert turned[-1] > turned[0]
    assert time_to_full(turned, HOUR, 20) is None


@pytest.mark.parametrize(
    ("newest_first", "grows"),
    [
        ([4.0, 3.0, 2.0, 1.0], True),
        ([4.0, None, 3.0, 2.0, 1.0], True),
        ([4.0, 3.0, 2.0, 0.0], True),
        ([4.0, 3.0, 2.0, -0.1], False),
        ([3.0, 2.0, 1.0], False),
        ([1.0, 2.0, 3.0, 4.0], False),
        ([9.0, 8.0, 7.0, 1.0, 0.5, 0.0], False),
        ([6.0, 5.0, 4.0, 3.0, 9.0, 8.0, 7.0, 0.0], False),
        ([6.0, 6.5, 7.0, 5.5, 4.0, 2.5, 1.0], False),
    ],
    ids=[
        "each day",
        "with a gap",
        "half in one",
        "more than half in one",
        "too few",
        "shrinks",
        "a leap",
        "a fall",
        "ceased",
    ],
)
def test_growth_is_of_every_day_and_goes_on(newest_first: list[float | None], grows: bool) -> None:
    assert grows_throughout(newest_first) == grows


@pytest.mark.parametrize(("shrinking", "forecasts"), [(0, True), (4, True), (5, False), (99, False)])
def test_there_is_a_forecast_only_if_all_but_a_few_futures_grow(shrinking: int, forecasts: bool) -> None:
    growths = [-1.0] * shrinking + [1.0] * (DRAWS - shrinking)
    assert (interval(growths, [10.0] * DRAWS, 100, HOUR) is not None) == forecasts


def test_the_interval_goes_from_the_tenth_to_the_ninetieth_of_the_futures() -> None:
    times = [float(i) for i in range(1, 100)]
    assert interval([24.0] * 99, times, 100, HOUR) == Filling(24.0, 10 * HOUR, 50 * HOUR, 90 * HOUR)


def test_what_lies_too_far_ahead_has_no_forecast() -> None:
    random = Random("far")
    line = [hour / 24 + random.gauss(0, 0.1) for hour in range(WEEK)]
    assert time_to_full(line, HOUR, line[-1] + 20) is not None
    assert time_to_full(line, HOUR, line[-1] + 22) is None


@pytest.mark.parametrize(("middle", "forecasts"), [(300.0, True), (301.0, False)])
def test_the_middle_lies_at_most_three_times_the_history_ahead(middle: float, forecasts: bool) -> None:
    assert (interval([1.0] * DRAWS, [middle] * DRAWS, 100, HOUR) is not None) == forecasts


@pytest.fixture
def cycles(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """From how many cycles each forecast took its profile."""
    found: list[float] = []
    draw = forecast.futures
    monkeypatch.setattr(forecast, "futures", lambda *given: (found.append(given[2]), draw(*given))[1])
    return found


@pytest.mark.parametrize(("weeks", "taken"), [(2, 13), (3, 3), (4, 4)])
def test_a_profile_is_of_the_week_where_three_whole_weeks_have_shown_it(
    cycles: list[float], weeks: int, taken: float
) -> None:
    """Else of the day, whose first cycle is the growth of the hours before the first midnight."""
    random = Random("weekly")
    values = [hour / 24 + 5 * (hour % WEEK == 100) + random.gauss(0, 0.05) for hour in range(weeks * WEEK)]
    time_to_full(values, HOUR, values[-1] + 3)
    assert cycles == [taken if weeks > 2 else inf]


def test_a_profile_is_of_the_day_where_its_hours_differ(cycles: list[float]) -> None:
    random = Random("daily")
    values = [hour / 24 + 5 * (hour % 24 == 3) + random.gauss(0, 0.05) for hour in range(WEEK)]
    time_to_full(values, HOUR, values[-1] + 6)
    assert cycles == [7]


def test_what_chance_would_give_is_no_profile(cycles: list[float]) -> None:
    random = Random("chance")
    for _ in range(10):
        values = [hour / 24 + random.gauss(0, 0.3) for hour in range(4 * WEEK)]
        time_to_full(values, HOUR, values[-1] + 3)
    assert cycles.count(inf) >= 9


def test_a_latest_beyond_the_horizon_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    values = total(steady(), wandering(0.5))
    random = Random("open")
    answer = found((made(values, 14, 14, random) or (None,))[0])
    assert answer.latest_seconds is not None
    monkeypatch.setattr(forecast, "LATEST_AT_MOST", answer.middle_seconds / 14 / 86400 + 0.01)
    again = found((made(values, 14, 14, Random("open")) or (None,))[0])
    assert again.latest_seconds is None


def test_a_nightly_job_fills_at_night_and_not_between() -> None:
    job = [8.0 if hour % 24 == 2 else 0.0 for hour in range(2 * WEEK)]
    values = [hour / 24 + height for hour, height in enumerate(job)]
    # The last value is that of 23:00. Tonight at 2:00 it is 22.1, tomorrow at 2:00 it is 23.1.
    answer = found(time_to_full(values, HOUR, 22.5))
    assert answer.earliest_seconds == answer.middle_seconds == 27 * HOUR


def test_a_weekly_cleanup_that_was_seen_often_enough_is_taken_into_account() -> None:
    sawtooth = [2.5 * hour / 24 - 10.5 * (hour // WEEK) for hour in range(4 * WEEK)]
    limit = sawtooth[-1] + 1
    later = [2.5 * hour / 24 - 10.5 * (hour // WEEK) for hour in range(4 * WEEK, 8 * WEEK)]
    first = next(i for i, v in enumerate(later, 1) if v >= limit)
    answer = found(time_to_full(sawtooth, HOUR, limit))
    assert abs(answer.middle_seconds - first * HOUR) <= 2 * HOUR


def test_a_weekly_cleanup_seen_once_rules_a_forecast_out() -> None:
    sawtooth = [2.5 * hour / 24 - 10.5 * (hour // WEEK) for hour in range(100, 100 + WEEK)]
    assert time_to_full(sawtooth, HOUR, sawtooth[-1] + 5) is None


@pytest.mark.parametrize(
    "make",
    [lambda r: ar1(0, 1)(r), lambda r: ar1(0.98, 1)(r), lambda r: total(nightly(5), ar1(0, 0.2))(r)],
    ids=["white", "persistent", "nightly"],
)
def test_what_does_not_grow_seldom_has_a_forecast(make: Callable[[Random], list[float | None]]) -> None:
    random = Random("none")
    found = [made(make, 7, 3, random) for _ in range(60)]
    assert sum(f is not None for f in found) <= 3


@pytest.mark.parametrize(
    ("name", "days", "ahead"),
    [
        ("steady + white sigma 0.5", 14, 3),
        ("walk 0.3 a day", 7, 7),
        ("walk 1 a day", 30, 3),
        ("pieces, 4 a day", 14, 3),
        ("nightly job of 1 + walk 0.3 a day", 14, 14),
    ],
)
def test_the_interval_holds_the_moment_about_as_often_as_it_says(name: str, days: int, ahead: float) -> None:
    random = Random(name)
    found = [f for _ in range(50) if (f := made(LOADS[name], days, ahead, random))]
    assert len(found) >= 45
    # Three deviations of the share of 50 below and above the bar of 75 to 85 %.
    assert floor(0.57 * len(found)) <= sum(holds(*f) for f in found) <= ceil(0.99 * len(found))


def test_an_interval_far_ahead_is_widened_about_its_middle_and_a_near_one_hardly() -> None:
    near, far = Filling(1.0, 1.0 * DAY, 2.9 * DAY, 8.0 * DAY), Filling(1.0, 6.0 * DAY, 12.0 * DAY, 24.0 * DAY)
    answer = widened(near, 4.0)
    assert 0.99 * DAY < answer.earliest_seconds < near.earliest_seconds
    assert near.latest_seconds < answer.latest_seconds < 8.05 * DAY
    answer = widened(far, 1.0)
    assert answer.middle_seconds == far.middle_seconds
    wider = exp(hypot((12 / WIDER_BEYOND_DAYS) ** WIDER_POWER * log(2), RATE_DOUBT))
    assert answer.earliest_seconds == pytest.approx(12 * DAY / wider)
    assert answer.latest_seconds == pytest.approx(12 * DAY * wider)
    assert widened(far, 2.0).earliest_seconds < answer.earliest_seconds < far.earliest_seconds
    assert widened(Filling(1.0, 6.0 * DAY, 12.0 * DAY, None), 2.0).latest_seconds is None


@pytest.mark.parametrize("days", [1.0, 7.0, 30.0])
def test_a_steady_past_does_not_promise_a_steady_rate(days: float) -> None:
    exact = Filling(1.0, days * DAY, days * DAY, days * DAY)
    answer = widened(exact, 1.0)
    assert answer.earliest_seconds == pytest.approx(days * DAY * 0.9048, rel=1e-3)
    assert answer.latest_seconds == pytest.approx(days * DAY * 1.1052, rel=1e-3)


def test_the_factor_rests_where_the_nominal_share_holds_and_moves_where_it_does_not() -> None:
    assert learnt([]) == 1.0
    assert learnt([True, True, False, True, True] * 40) == pytest.approx(1.0, abs=0.25)
    assert learnt([False] * 5) > 2
    assert learnt([False] * 50) == 4.0
    assert learnt([True] * 50) == 0.8
