"""When captures come closer together, and how many they are in a day."""

from itertools import pairwise
from random import Random

import pytest

from service.clock import DAY
from service.recording.attention import SHARE, Attention


def captures(cpu: list[float | None], interval: float = 5.0, regular: float = 30.0) -> list[int]:
    """The ticks after which a capture is taken at once, beside the regular ones."""
    attention, found, captured_at = Attention(regular), [], 0.0
    for number, percent in enumerate(cpu):
        now = interval * number
        if now % regular == 0:
            captured_at = now
        values = {"cpu_percent": percent, "memory_percent": 40.0}
        if attention.wants_capture(values, interval, now, captured_at):
            found.append(number)
            captured_at = now
    return found


def test_a_short_peak_is_captured_every_five_seconds() -> None:
    burst = captures([5.0] * 120 + [90.0] * 4 + [5.0] * 120)
    # The second of the four is that at which a regular capture was due.
    assert burst == [number for number in range(120, 124) if number % 6]


def test_what_is_usual_for_the_last_hour_needs_no_closer_captures() -> None:
    random = Random(1)
    assert captures([random.gauss(40, 3) for _ in range(4 * 720)]) == []
    regular = captures([80.0 if number // 60 % 2 else 20.0 for number in range(4 * 720)])
    assert [number for number in regular if number > 240] == []


def test_what_was_usual_before_the_last_hour_is_forgotten() -> None:
    assert captures([50.0] * 1440 + [5.0] * 720 + [30.0] * 4) == [2161, 2162, 2163]
    assert captures([50.0] * 1440 + [5.0] * 350 + [30.0] * 4) == []


def test_at_first_nothing_is_unusual() -> None:
    assert captures([1.0] * 6 + [95.0] * 6) == []


def test_what_is_unknown_is_not_unusual() -> None:
    assert captures([5.0] * 120 + [None] * 10) == []


def test_a_long_time_is_captured_closely_at_first_and_then_as_always() -> None:
    found = captures([5.0] * 720 + [90.0] * 180)
    first, later = [n for n in found if n < 732], [n for n in found if n >= 732]
    assert len(first) > 6
    assert all(b - a >= 2 for a, b in pairwise(later))
    assert max(found) <= 720 + 300 / 5


def test_a_time_that_was_usual_in_between_begins_anew() -> None:
    found = captures([5.0] * 720 + [90.0] * 60 + [5.0] + [90.0] * 6)
    assert [number for number in found if number > 780] == [number for number in range(781, 787) if number % 6]


def test_memory_is_unusual_by_three_points_and_cpu_by_ten() -> None:
    def is_wanted(metric: str, before: float, now: float) -> bool:
        attention = Attention(30.0)
        for number in range(120):
            assert not attention.wants_capture({metric: before}, 5.0, 5.0 * number, 5.0 * number - 20)
        return attention.wants_capture({metric: now}, 5.0, 600.0, 580.0)

    assert (is_wanted("memory_percent", 40.0, 43.0), is_wanted("memory_percent", 40.0, 43.1)) == (False, True)
    assert (is_wanted("cpu_percent", 40.0, 50.0), is_wanted("cpu_percent", 40.0, 50.1)) == (False, True)


@pytest.mark.parametrize(("since", "is_wanted"), [(4.4, False), (4.5, True)])
def test_closer_captures_are_five_seconds_apart_or_a_little_less(since: float, is_wanted: bool) -> None:
    attention = quiet()
    assert attention.wants_capture({"cpu_percent": 90.0}, 5.0, 600.0, 600.0 - since) == is_wanted


def quiet() -> Attention:
    """After an hour in which nothing was unusual, at second 600."""
    attention = Attention(30.0)
    for now in range(-3000, 600, 5):
        attention.wants_capture({"cpu_percent": 5.0}, 5.0, now, now)
    return attention


def spacings(attention: Attention) -> dict[int, float]:
    """After how many seconds of an unusual time a capture was as old as it may be: of one taken whenever it is due."""
    found, captured_at = {}, 599.0
    for now in range(600, 1000):
        if attention.wants_capture({"cpu_percent": 90.0}, 1.0, now, captured_at):
            found[now - 599], captured_at = now - captured_at, now
    return found


def test_captures_are_five_seconds_apart_for_a_minute_and_ten_until_five_minutes_are_over() -> None:
    found = spacings(quiet())
    assert {age for seconds, age in found.items() if seconds <= 60} == {5.0}
    assert {age for seconds, age in found.items() if seconds > 65} == {10.0}
    assert 290 < max(found) <= 300


def test_what_a_day_may_cost_more_is_half_saved_up_and_half_earned_again() -> None:
    """At a regular one each 8,640 s, ten a day: half of one is saved up, and a whole one is there after a day."""
    attention = Attention(864.0)
    wanted = []
    for number in range(12):
        for quiet_tick in range(120):
            now = 3600.0 * number + 5 * quiet_tick
            attention.wants_capture({"cpu_percent": 5.0}, 5.0, now, now)
        now = 3600.0 * number + 600
        wanted.append(attention.wants_capture({"cpu_percent": 90.0}, 5.0, now, now - 100))
    # Five are saved up; 3,600 s earn 0.2 of one.
    assert wanted == [True] * 6 + [False] * 4 + [True] + [False]


def test_in_no_day_are_there_more_than_a_tenth_of_the_regular_ones() -> None:
    """Peaks of a minute, five in each hour of two days, on a host that is otherwise quiet."""
    ticks = int(2 * DAY / 5)
    found = captures([90.0 if number * 5 % 720 < 60 else 5.0 for number in range(ticks)])
    assert len(found) > 100
    for start in range(0, ticks, 720):
        within = [number for number in found if start <= number < start + DAY // 5]
        assert len(within) <= SHARE * DAY / 30 + 1
