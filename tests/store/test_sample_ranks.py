"""The largest values of samples are those that sorting all of them gives, though not all of them are read."""

import itertools
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

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


class Asked:
    """Asks of `cpu_percent` each 5 s from NOW on, which are stored as the test says; what it keeps is looked into."""

    def __init__(self, store: Store) -> None:
        self.recent, self._store, self._stored = RecentSamples(), store, list[float]()

    def append(self, values: Sequence[float]) -> None:
        first = len(self._stored)
        if not values:
            return
        self._store.append(
            [
                Sample(NOW + 5 * (first + i), 5.0, {"cpu_percent": value}, None if first + i else Break(None, None))
                for i, value in enumerate(values)
            ]
        )
        self._stored += values

    def largest(self, count: int, start: int, end: int) -> int:
        """How many values reached the bound, which are all that were sorted; the answer is that of sorting all."""
        segment = Segment(SAMPLES, NOW + 5 * start, NOW + 5 * end)
        metrics = [BY_NAME["cpu_percent"]]
        found = self._store.write(lambda st: self.recent.largest(st, segment, metrics, NOW, count))["cpu_percent"]
        window = self._stored[start:end]
        assert list(found.averages) == sorted(window, reverse=True)[:count]
        assert found.highest == (5 * (start + window.index(max(window))) if window else None)
        places = self.kept._found["cpu_percent"].places
        assert len(places) == sum(value >= self.bound for value in window)
        return len(places)

    @property
    def kept(self) -> Any:
        return self.recent._kept

    @property
    def bound(self) -> float:
        return float(self.kept._found["cpu_percent"].bound)


@pytest.fixture
def asked(store: Store) -> Asked:
    return Asked(store)


def spread(count: int) -> list[float]:
    """Different values below 60, in no order."""
    return [number * 7919 % 6000 / 100 for number in range(count)]


def with_tops(others: int) -> list[float]:
    """800 values, of which each eighth is looked at for a guess: there are 91 to 95, and so many others above 91."""
    values = spread(800)
    values[80:120:8] = [95.0, 94.0, 93.0, 92.0, 91.0]
    values[201 : 201 + 8 * others : 8] = [96.0] * others
    return values


@pytest.mark.parametrize(("others", "bound", "reached"), [(7, 91, 12), (5, 91, 10), (4, -sys.float_info.max, 800)])
def test_the_guess_is_what_few_of_every_eighth_exceed(asked: Asked, others: int, bound: float, reached: int) -> None:
    """Of the 10 greatest of 800 one is expected among these 100, and three more may be: the fifth is it. Where too few
    reach it, all are sorted."""
    asked.append(with_tops(others))
    assert (asked.largest(10, 0, 800), asked.bound) == (reached, bound)


@pytest.mark.parametrize(("more", "goes_on"), [(0, True), (1, True), (8, True), (9, False)])
def test_a_guess_goes_on_until_more_than_twice_as_many_reach_it(asked: Asked, more: int, goes_on: bool) -> None:
    """Twelve reached it; one that equals it does."""
    asked.append(with_tops(7))
    asked.largest(10, 0, 800)
    new = [*[97.0] * (more - 1), 91.0] if more else []
    asked.append(new + [1.0] * 20)
    reached = asked.largest(10, 0, 820 + more)
    assert (asked.bound == 91) is goes_on
    assert reached == 12 + more or not goes_on


@pytest.mark.parametrize(("start", "goes_on"), [(80, True), (81, True), (89, True), (97, False)])
def test_a_guess_goes_on_as_long_as_enough_reach_it(asked: Asked, start: int, goes_on: bool) -> None:
    """Twelve reached it, of which the first three leave one by one."""
    asked.append(with_tops(7))
    asked.largest(10, 0, 800)
    reached = asked.largest(10, start, 800)
    assert (asked.bound == 91) is goes_on
    assert reached == {80: 12, 81: 11, 89: 10}.get(start, reached)


def test_a_guess_does_not_go_on_into_what_lies_before(asked: Asked) -> None:
    asked.append([99.0] * 30 + with_tops(7))
    asked.largest(1, 0, 2)
    asked.largest(10, 30, 830)
    assert asked.bound == 91
    asked.largest(10, 10, 830)
    assert asked.bound != 91
    asked.largest(10, 30, 800)


@pytest.mark.parametrize(("more", "kept"), [(115, 915), (116, 801)])
def test_what_is_older_than_any_window_goes_once_it_is_an_eighth(asked: Asked, more: int, kept: int) -> None:
    """Of the widest window, counted from the newest; one that lies on its start stays."""
    asked.append(spread(800))
    asked.largest(10, 0, 800)
    asked.largest(10, 300, 800)
    asked.append(spread(900)[800:] + spread(more - 100))
    asked.largest(10, more, 800 + more)
    assert len(asked.kept._times) == kept
    assert len(asked.kept._covered) == len(asked.kept._values["cpu_percent"]) == kept
    # What is gone is read anew.
    asked.largest(10, more - 50, 800 + more)


def test_a_guess_goes_on_when_old_ones_have_gone(asked: Asked) -> None:
    """Twice: of 17 that reached it five leave and three come, then four more leave."""
    asked.append(with_tops(12))
    assert asked.largest(10, 0, 800) == 17
    asked.append([1.0, 97.0, 1.0, 97.0, 1.0, 97.0, *[1.0] * 110])
    assert (asked.largest(10, 116, 916), len(asked.kept._times)) == (15, 801)
    assert asked.bound == 91
    asked.append([1.0] * 116)
    assert (asked.largest(10, 232, 1032), len(asked.kept._times)) == (11, 801)
    assert asked.bound == 91


@pytest.mark.parametrize("trend", [-1, 0, 1])
def test_as_a_window_moves_on_the_answer_is_that_of_sorting_it(asked: Asked, trend: int) -> None:
    """With values that grow, that fall and that do neither, by steps of which some are longer than the window."""
    chance = random.Random(7)
    stored = 0
    for step in (400, 1, 5, 30, 0, 90, 200, 7, 900, 1, 60, 60, 60, 60, 60, 60, 300, 2, 2, 2):
        asked.append([round(50 + trend * (stored + i) / 60 + chance.randrange(1500) / 100, 2) for i in range(step)])
        stored += step
        asked.largest(12, max(0, stored - 350), stored)
        asked.largest(12, max(0, stored - 200), stored)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 40, 41])
def test_however_few_there_are_as_many_as_are_asked_for_come(asked: Asked, size: int) -> None:
    asked.append(spread(size))
    for count in range(1, size + 5):
        asked.largest(count, 0, size)
        asked.recent.forget()


def test_only_what_is_new_is_read(asked: Asked) -> None:
    """As far as the window goes; and what is kept is the newest, then the longest."""
    asked.append(spread(300))
    asked.largest(3, 100, 200)
    kept = asked.kept
    # The neighbours of the first sample, twice the interval and two seconds before it, are kept too.
    assert list(kept._times) == [NOW + 5 * number for number in range(98, 200)]
    for start, end in ((100, 200), (150, 210), (209, 210), (150, 300)):
        asked.largest(3, start, end)
        assert asked.kept is kept, (start, end)
    assert kept.last == NOW + 5 * 299
    segment = Segment(SAMPLES, NOW, NOW + 500)
    found = asked._store.write(lambda st: asked.recent.largest(st, segment, [BY_NAME["cpu_percent"]], NOW, 3))
    assert list(found["cpu_percent"].averages) == sorted(spread(100), reverse=True)[:3]
    assert asked.kept is kept, "what ends before it does not replace it"
    asked.largest(3, 50, 300)
    assert asked.kept is not kept, "what begins before it does"
    asked.recent.forget()
    assert asked.kept is None


def test_how_far_back_the_neighbour_of_the_first_is_looked_for(asked: Asked, fill: Fill) -> None:
    """Twice the interval, which is 5 s, and two seconds."""
    fill(NOW, 200, interval=1, cpu_percent=1)
    asked._store.write(lambda st: asked.recent.largest(st, Segment(SAMPLES, NOW + 30, NOW + 190), [], NOW, 1))
    assert list(asked.kept._times) == list(range(NOW + 18, NOW + 190))


def test_another_metric_is_read_from_the_same_samples(rank: Rank, fill: Fill) -> None:
    fill(NOW, 9, cpu_percent=lambda i: i, load_1=lambda i: 10 + i)
    assert rank(1, "cpu_percent")["cpu_percent"].averages == [8.0]
    assert rank(1, "load_1")["load_1"].averages == [18.0]
    assert rank(1, "cpu_percent")["cpu_percent"].averages == [8.0]


def test_a_stretch_has_no_rate_from_the_one_before(rank: Rank, fill: Fill) -> None:
    """However much the counter moved between them, and whether they are read at once or one after the other."""
    fill(NOW, 3, network_sent_bytes=lambda i: 1000 * i)
    fill(NOW + 60, 3, begins=Break(NOW + 15, "stopped"), network_sent_bytes=lambda i: 10**9 + 500 * i)
    assert list(rank(9, COUNTER)[COUNTER].averages) == [200.0, 200.0, 100.0, 100.0]
    fill(NOW + 120, 2, begins=Break(NOW + 80, "stopped"), network_sent_bytes=lambda i: 10**10 + 5000 * i)
    assert list(rank(9, COUNTER)[COUNTER].averages) == [1000.0, 200.0, 200.0, 100.0, 100.0]


def test_a_rate_over_a_thousandth_of_a_second_is_known_and_over_none_it_is_not(rank: Rank, store: Store) -> None:
    times = [(5.0, 0), (0.001, 2), (0.0, 900), (5.0, 910)]
    store.append([Sample(NOW + 5 * i, time, {COUNTER: total}) for i, (time, total) in enumerate(times)])
    found = rank(9, COUNTER)[COUNTER]
    assert (list(found.averages), list(found.weights)) == ([2000.0, 2.0], [0.001, 5.0])
    assert found.highest == 65


def test_two_stretches_of_one_second_are_left_to_the_longer_way(rank: Rank, fill: Fill) -> None:
    fill(NOW, 4, cpu_percent=50)
    fill(NOW + 15, 4, begins=Break(NOW + 15, "clock_step"), cpu_percent=60)
    assert rank(9, "cpu_percent") == {}
    fill(NOW + 900, 4, begins=Break(NOW + 40, "stopped"), cpu_percent=70)
    assert rank(9, "cpu_percent") == {}, "they are among them still"


def test_a_stretch_inside_of_another_is_left_to_the_longer_way_once_that_goes_on(rank: Rank, store: Store) -> None:
    def sample(ts: int, begins: Break | None = None) -> Sample:
        return Sample(NOW + ts, 5.0, {"cpu_percent": float(ts)}, begins)

    store.append([sample(0, Break(None, None)), sample(5), sample(90), sample(95)])
    store.append([sample(20, Break(NOW + 100, "clock_step")), sample(25)])
    assert rank(9, "cpu_percent", end=NOW + 30)["cpu_percent"].averages == [25.0, 20.0, 5.0, 0.0]
    assert rank(9, "cpu_percent", end=NOW + 100) == {}


@pytest.mark.parametrize(("covered", "highest"), [(0.1, 60), (0.099, 55)])
def test_a_rate_over_a_tenth_of_a_second_may_be_the_maximum(
    rank: Rank, store: Store, covered: float, highest: int
) -> None:
    """Also where a window holds nothing else that may be."""
    times = [(5.0, 0), (5.0, 100), (covered, 900), (0.05, 9000)]
    store.append([Sample(NOW + 5 * i, time, {COUNTER: total}) for i, (time, total) in enumerate(times)])
    assert rank(9, COUNTER)[COUNTER].highest == highest
    alone = rank(9, COUNTER, start=NOW + 10)[COUNTER]
    assert len(alone.averages) == 2
    assert alone.highest == (60 if covered == 0.1 else None)


@pytest.mark.parametrize(("covered", "is_high"), [(0.1, True), (0.099, False)])
def test_where_all_that_reach_a_guess_are_over_almost_no_time_another_is_the_maximum(
    rank: Rank, store: Store, covered: float, is_high: bool
) -> None:
    """The first sample, of which no rate is known, is none."""
    times = [covered if number == 500 else 0.05 for number in range(800)]
    totals = itertools.accumulate(10 if time == covered else 1 + number % 90 for number, time in enumerate(times))
    store.append([Sample(NOW + 5 * i, t, {COUNTER: n}) for i, (t, n) in enumerate(zip(times, totals, strict=True))])
    assert rank(10, COUNTER)[COUNTER].highest == (50 + 5 * 500 if is_high else None)


def test_of_rates_that_differ_in_whole_bytes_the_greater_is_the_maximum(rank: Rank, fill: Fill) -> None:
    fill(NOW, 4, network_sent_bytes=[0, 501, 1010, 1011].__getitem__)
    assert rank(9, COUNTER)[COUNTER].highest == 60


def test_the_maximum_stands_where_others_below_the_guess_are_the_same_in_whole_bytes(rank: Rank, fill: Fill) -> None:
    """All rates are 100 bytes a second and a fraction: the first of all is the first maximum."""
    moved = [0, *(500 + number % 5 for number in range(799))]
    fill(NOW, 800, network_sent_bytes=list(itertools.accumulate(moved)).__getitem__)
    assert rank(10, COUNTER)[COUNTER].highest == 55
