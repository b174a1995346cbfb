"""The largest values of a window are those of its buckets, whatever tier or memory they come from."""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from service.clock import DAY, HOUR, MINUTE
from service.metrics import BY_NAME, HEADLINES, METRICS
from service.records import Break, Sample
from service.store.reader import History, View
from service.store.writer import Store
from tests.conftest import NOW

SECONDS = 2 * HOUR + 600


def odd_samples(start: int, count: int) -> list[Sample]:
    """With unknown values, totals that begin again, unequal time and ties."""
    chance = random.Random(count)
    totals = dict.fromkeys([metric.name for metric in METRICS if metric.is_counter], 0)

    def value(name: str) -> float | None:
        if chance.random() < 0.05:
            return None
        if name not in totals:
            return chance.randrange(200) / 2
        totals[name] = 0 if chance.random() < 0.02 else totals[name] + chance.randrange(3) * chance.randrange(5000)
        return totals[name]

    return [
        Sample(
            start + 5 * i,
            chance.choice([5.0, 4.2, 0.05, 9.9]),
            {metric.name: value(metric.name) for metric in METRICS},
            Break(None, None) if i % 500 == 0 else None,
        )
        for i in range(count)
    ]


@pytest.fixture(params=["stored", "rolled up", "waiting"])
def view(request: pytest.FixtureRequest, store: Store, path: Path) -> Iterator[View]:
    """SECONDS of odd samples from NOW on."""
    samples = odd_samples(NOW, SECONDS // 5)
    kept = len(samples) - 40 if request.param == "waiting" else len(samples)
    store.append(samples[:kept])
    while request.param != "stored" and store.roll_up():
        pass
    history = History(path, waiting=lambda: samples[kept:])
    with history.view(seconds=300) as view:
        yield view
    history.close()


def ordered(averages: Sequence[float], weights: Sequence[float]) -> list[tuple[float, float]]:
    return [(pytest.approx(a), pytest.approx(w)) for a, w in sorted(zip(averages, weights, strict=True), reverse=True)]


@pytest.mark.parametrize("step", [1, MINUTE, HOUR])
def test_they_are_those_of_the_buckets(view: View, step: int) -> None:
    start, end = NOW + 117, NOW + SECONDS - 23
    buckets = view.buckets(start, end, step, METRICS, step)
    count = -(-(end - start) // step)
    for metric in HEADLINES:
        found = view.largest([metric], start, end, step, step, count)[metric.name]
        pairs = zip(buckets.averages(metric.name), buckets.weights(metric.name), strict=True)
        known = [(average, weight) for average, weight in pairs if average is not None]
        assert sorted(zip(found.averages, found.weights, strict=True), reverse=True) == ordered(
            *zip(*known, strict=True)
        )
        assert list(found.averages) == sorted(found.averages, reverse=True)
        maxima = [-1.0 if maximum is None else maximum for maximum in buckets.maxima(metric.name)]
        assert found.highest == maxima.index(max(maxima))
        assert view.highest(metric, start, end, step, step) == start + found.highest * step


def test_only_so_many_are_read(view: View) -> None:
    found = view.largest(METRICS, NOW, NOW + SECONDS, 1, 1, 7)
    assert {name: len(largest.averages) for name, largest in found.items()} == {metric.name: 7 for metric in METRICS}


def test_those_above_a_bound_are_the_first_of_all(view: View) -> None:
    """A few are read otherwise than many: not every value is sorted for them."""
    every = view.largest(METRICS, NOW, NOW + SECONDS, 1, 1, SECONDS)
    for count in (1, 40, 90, 900):
        few = view.largest(METRICS, NOW, NOW + SECONDS, 1, 1, count)
        for name, found in few.items():
            assert list(found.averages) == list(every[name].averages[:count])
            known = set(zip(every[name].averages, every[name].weights, strict=True))
            assert set(zip(found.averages, found.weights, strict=True)) <= known
            assert found.highest == every[name].highest


def test_however_few_are_asked_for_they_are_the_first(store: Store, path: Path) -> None:
    """Also where the bound would be the last of those from which it is guessed, or one after it."""
    counters = [metric for metric in METRICS if metric.is_counter]
    totals = [i * i for i in range(80)]
    store.append([Sample(NOW + i, 1.0, dict.fromkeys([c.name for c in counters], t)) for i, t in enumerate(totals)])
    rates = [float(b - a) for a, b in itertools.pairwise(totals)][::-1]
    history = History(path)
    with history.view() as view:
        for count in range(1, 80):
            found = view.largest(counters, NOW, NOW + 80, 1, 1, count)
            assert {tuple(of.averages) for of in found.values()} == {tuple(rates[:count])}
    history.close()


@pytest.mark.parametrize(("covered", "is_high"), [(0.1, True), (0.099, False)])
def test_a_rate_over_almost_no_time_is_no_maximum(store: Store, path: Path, covered: float, is_high: bool) -> None:
    sent = BY_NAME["network_sent_bytes"]
    totals = [0, 100, 200, 100_200, 100_300]
    times = [1.0, 1.0, 1.0, covered, 0.05]
    store.append([Sample(NOW + i, time, {sent.name: t}) for i, (t, time) in enumerate(zip(totals, times, strict=True))])
    history = History(path)
    with history.view() as view:
        found = view.largest([sent], NOW, NOW + 10, 1, 1, 10)[sent.name]
    history.close()
    assert found.highest == (3 if is_high else 1)


def test_a_bound_that_is_too_high_leaves_nothing_out(store: Store, path: Path) -> None:
    """Of a host that is busy in every eighth second, in which the bound is guessed."""
    names = [metric.name for metric in HEADLINES if not metric.is_counter]
    busy = [(90.0 if (NOW + i) % 8 == 0 else 5.0 + i % 7) for i in range(4000)]
    store.append([Sample(NOW + i, 1.0, dict.fromkeys(names, value)) for i, value in enumerate(busy)])
    history = History(path)
    with history.view() as view:
        found = view.largest(HEADLINES, NOW, NOW + 4000, 1, 1, 1000)
    history.close()
    assert {name: list(found[name].averages) for name in names} == dict.fromkeys(names, sorted(busy)[:-1001:-1])


def test_a_bound_that_is_too_high_leaves_no_rate_out(store: Store, path: Path) -> None:
    """Of a counter that moves by much in every eighth second alone: those that stand still count, too."""
    sent = BY_NAME["network_sent_bytes"]
    moved = [90 if i % 8 == 1 else i % 2 for i in range(400)]
    totals = itertools.accumulate(moved)
    store.append([Sample(NOW + i, 1.0, {sent.name: total}) for i, total in enumerate(totals)])
    history = History(path)
    with history.view() as view:
        found = view.largest([sent], NOW, NOW + 400, 1, 1, 280)[sent.name]
    history.close()
    assert list(found.averages) == sorted(map(float, moved[1:]), reverse=True)[:280]


def test_two_in_one_second_each_have_their_own_time(store: Store, path: Path) -> None:
    store.append([Sample(NOW + i, 1.0, {"load_1": 1.0}) for i in range(50)])
    store.append([Sample(NOW + 40 + i, 3.0, {"load_1": 2.0}, Break(None, "clock_step")) for i in range(50)])
    history = History(path)
    with history.view() as view:
        found = view.largest([metric for metric in METRICS if metric.name == "load_1"], NOW, NOW + 100, 1, 1, 60)
    history.close()
    pairs = list(zip(found["load_1"].averages, found["load_1"].weights, strict=True))
    assert pairs == [(2.0, 3.0)] * 50 + [(1.0, 1.0)] * 10
    assert found["load_1"].highest == 40


@pytest.mark.parametrize("value", [2.0**52, -(2.0**52), -3.5])
def test_a_value_may_be_huge_or_negative(store: Store, path: Path, value: float) -> None:
    store.append([Sample(NOW + i, 1.0, {"load_1": value if i == 50 else 1.0}) for i in range(100)])
    history = History(path)
    with history.view() as view:
        found = view.largest([metric for metric in METRICS if metric.name == "load_1"], NOW, NOW + 100, 1, 1, 100)
    history.close()
    assert sorted(found["load_1"].averages) == pytest.approx(sorted([value, *[1.0] * 99]))
    assert found["load_1"].highest == (50 if value > 1 else 0)


def test_of_a_window_without_samples_there_are_none(view: View) -> None:
    for step in (1, MINUTE):
        found = view.largest(METRICS, NOW - DAY, NOW - HOUR, step, step, 7)
        assert {(tuple(largest.averages), largest.highest) for largest in found.values()} == {((), None)}
    assert view.highest(METRICS[0], NOW - DAY, NOW - HOUR, 1, 1) is None
