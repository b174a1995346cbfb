"""When captures come closer together, and how many they are in a day."""

from itertools import pairwise
from random import Random

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


def test_in_no_day_are_there_more_than_a_tenth_of_the_regular_ones() -> None:
    """Peaks of a minute, five in each hour of two days, on a host that is otherwise quiet."""
    ticks = int(2 * DAY / 5)
    found = captures([90.0 if number * 5 % 720 < 60 else 5.0 for number in range(ticks)])
    assert len(found) > 100
    for start in range(0, ticks, 720):
        within = [number for number in found if start <= number < start + DAY // 5]
        assert len(within) <= SHARE * DAY / 30 + 1
