"""The largest values of samples are those that sorting all of them gives, though not all of them are read."""

import itertools
import random
from collections.abc import Callable

import pytest

from service.metrics import BY_NAME
from service.records import Break, Sample
from service.store.sample_ranks import Largest, RecentSamples
from service.store.tiers import SAMPLES, Segment
from service.store.writer import Store
from tests.conftest import NOW, Fill

COUNT, ORIGIN = 2000, NOW - 50
GAUGES, COUNTER = ("cpu_percent", "load_1", "swap_percent"), "network_sent_bytes"

Rank = Callable[..., dict[str, Largest]]


@pytest.fixture
def rank(store: Store) -> Rank:
    recent = RecentSamples()

    def rank(count: int, *names: str, start: int = NOW, end: int = NOW + 5 * COUNT) -> dict[str, Largest]:
        metrics = [BY_NAME[name] for name in names]
        segment = Segment(SAMPLES, start, end)
        return store.write(lambda statements: recent.largest(statements, segment, metrics, ORIGIN, count))

    return rank


@pytest.fixture
def values(fill: Fill) -> dict[str, list[float | None]]:
    """Stored each 5 s from NOW on; before and after them there are greater ones."""
    chance = random.Random(4)
    total, totals = 10**6, []
    for _ in range(COUNT):
        total = 0 if chance.random() < 0.02 else total + 1000 * chance.randrange(3) * chance.randrange(5000)
        totals.append(None if chance.random() < 0.05 else float(total))
    found: dict[str, list[float | None]] = {
        "cpu_percent": [chance.randrange(10_000) / 100 for _ in range(COUNT)],
        "load_1": [None if chance.random() < 0.5 else chance.randrange(4) / 4 for _ in range(COUNT)],
        "swap_percent": [chance.randrange(90) if number > 1990 else None for number in range(COUNT)],
        COUNTER: totals,
    }
    outside = {"cpu_percent": 100, "load_1": 99, "swap_percent": 100}
    fill(NOW - 500, 100, **outside, network_sent_bytes=lambda i: 10**9 * i)
    fill(NOW, COUNT, begins=Break(None, None), **{name: column.__getitem__ for name, column in found.items()})
    fill(NOW + 5 * COUNT, 100, begins=Break(None, None), **outside, network_sent_bytes=lambda i: 10**9 * i)
    return found


@pytest.mark.parametrize("count", [1, 7, 100, COUNT // 2, COUNT])
def test_of_gauges_they_are_the_greatest_values_of_the_window(
    rank: Rank, values: dict[str, list[float | None]], count: int
) -> None:
    found = rank(count, *GAUGES)
    for name in GAUGES:
        known = sorted((value for value in values[name] if value is not None), reverse=True)
        assert list(found[name].averages) == pytest.approx(known[:count])
        assert list(found[name].weights) == [5.0] * min(count, len(known))
        assert found[name].highest == 50 + 5 * values[name].index(known[0])


@pytest.mark.parametrize("count", [1, 7, 100, COUNT // 2, COUNT])
def test_of_counters_they_are_the_greatest_rates_between_neighbours(
    rank: Rank, values: dict[str, list[float | None]], count: int
) -> None:
    totals = values[COUNTER]
    rates = {
        number + 1: (after - before) / 5
        for number, (before, after) in enumerate(itertools.pairwise(totals))
        if before is not None and after is not None and after >= before
    }
    found = rank(count, COUNTER)[COUNTER]
    assert list(found.averages) == pytest.approx(sorted(rates.values(), reverse=True)[:count])
    assert list(found.weights) == [5.0] * min(count, len(rates))
    assert found.highest == 50 + 5 * min(number for number, rate in rates.items() if rate == max(rates.values()))


def test_what_counts_slowly_is_ranked_too(rank: Rank, fill: Fill) -> None:
    """Less than a byte a second."""
    fill(NOW, 12, network_sent_bytes=lambda i: 2 * i)
    assert list(rank(20, COUNTER)[COUNTER].averages) == pytest.approx([0.4] * 11)


def test_of_a_window_without_samples_nothing_is_known(rank: Rank, values: dict[str, list[float | None]]) -> None:
    found = rank(5, *GAUGES, COUNTER, start=NOW - 10**6, end=NOW - 10**6 + 60)
    assert {(len(largest.averages), largest.highest) for largest in found.values()} == {(0, None)}
    assert set(found) == {*GAUGES, COUNTER}


def test_the_first_sample_of_a_window_has_its_rate_from_the_one_before_it(rank: Rank, fill: Fill) -> None:
    fill(NOW, 4, network_sent_bytes=[0, 5000, 5100, 5200].__getitem__)
    found = rank(9, COUNTER, start=NOW + 5, end=NOW + 15)[COUNTER]
    assert (list(found.averages), found.highest) == ([1000.0, 20.0], 55)


def test_a_window_in_which_the_clock_was_set_back_is_left_to_the_longer_way(rank: Rank, fill: Fill) -> None:
    fill(NOW, 4, cpu_percent=50, network_sent_bytes=lambda i: 1000 * i)
    fill(
        NOW + 10, 4, begins=Break(NOW + 15, "clock_step"), cpu_percent=60, network_sent_bytes=lambda i: 10**6 + 500 * i
    )
    assert rank(9, "cpu_percent", COUNTER) == {}


def test_what_is_stored_between_two_questions_is_ranked_as_if_all_were_read_anew(store: Store) -> None:
    chance = random.Random(5)
    recent, metrics, total = RecentSamples(), [BY_NAME["cpu_percent"], BY_NAME[COUNTER]], 0
    samples: list[Sample] = []
    for number in range(60):
        total += 1000 * chance.randrange(5000)
        values = {"cpu_percent": float(chance.randrange(100)), COUNTER: float(total)}
        samples.append(Sample(NOW + 5 * number, 5.0, values, None if number else Break(None, None)))

    def asked(ranks: RecentSamples, start: int, end: int) -> dict[str, Largest]:
        segment = Segment(SAMPLES, NOW + 5 * start, NOW + 5 * end)
        return store.write(lambda statements: ranks.largest(statements, segment, metrics, ORIGIN, 9))

    stored = 0
    # More each time, by steps of which some drop old ones; now and then a window of the past, which begins before them.
    for until, start in ((20, 0), (21, 5), (30, 18), (30, 2), (31, 20), (55, 40), (60, 45), (60, 58)):
        if until > stored:
            store.append(samples[stored:until])
            stored = until
        assert asked(recent, start, until) == asked(RecentSamples(), start, until), (until, start)


def test_a_stretch_that_begins_among_what_is_kept_is_noticed(rank: Rank, fill: Fill) -> None:
    fill(NOW, 10, cpu_percent=lambda i: i)
    assert rank(1, "cpu_percent")["cpu_percent"].averages == [9.0]
    fill(NOW + 12, 2, begins=Break(NOW + 50, "clock_step"), cpu_percent=90)
    assert rank(1, "cpu_percent") == {}
    fill(NOW + 60, 2, begins=Break(NOW + 50, "stopped"), cpu_percent=80)
    assert rank(1, "cpu_percent", start=NOW + 30)["cpu_percent"].averages == [80.0]


def test_a_counter_was_highest_where_it_first_had_the_greatest_rate_in_whole_bytes(rank: Rank, fill: Fill) -> None:
    """As maxima are stored: 100.2 and 100.8 bytes a second are the same."""
    fill(NOW, 4, network_sent_bytes=[0, 501, 1005, 1006].__getitem__)
    assert rank(9, COUNTER)[COUNTER].highest == 55
