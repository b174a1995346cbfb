"""The largest values of a window are those of its buckets, whatever tier or memory they come from."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from service.clock import DAY, HOUR, MINUTE
from service.metrics import METRICS
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
    with history.view() as view:
        yield view
    history.close()


def ordered(averages: Sequence[float], weights: Sequence[float]) -> list[tuple[float, float]]:
    return [(pytest.approx(a), pytest.approx(w)) for a, w in sorted(zip(averages, weights, strict=True), reverse=True)]


@pytest.mark.parametrize("step", [1, MINUTE, HOUR])
def test_they_are_those_of_the_buckets(view: View, step: int) -> None:
    start, end = NOW + 117, NOW + SECONDS - 23
    buckets = view.buckets(start, end, step, METRICS, step)
    count = -(-(end - start) // step)
    for metric in METRICS:
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


def test_of_a_window_without_samples_there_are_none(view: View) -> None:
    for step in (1, MINUTE):
        found = view.largest(METRICS, NOW - DAY, NOW - HOUR, step, step, 7)
        assert {(tuple(largest.averages), largest.highest) for largest in found.values()} == {((), None)}
    assert view.highest(METRICS[0], NOW - DAY, NOW - HOUR, 1, 1) is None
