"""Of many rows the largest values are those that sorting all of them gives, though a guess tells which are read."""

import random
from collections.abc import Iterator

import pytest

from service.clock import MINUTE
from service.metrics import BY_NAME
from service.store.reader import History, View
from service.store.writer import Store
from tests.conftest import NOW, Fill

COUNT = 4500
COUNTER = "network_sent_bytes"
METRICS = [BY_NAME[name] for name in ("cpu_percent", "load_1", "load_5", "memory_percent", "disk_percent", COUNTER)]


@pytest.fixture
def view(store: Store, fill: Fill, history: History) -> Iterator[View]:
    """A sample a minute, rolled up: noise, values that are rarely known, rare peaks, ties, growth, a counter."""
    chance = random.Random(3)
    total, totals = 0, []
    for _ in range(COUNT):
        total = 0 if chance.random() < 0.01 else total + chance.randrange(10**8)
        totals.append(None if chance.random() < 0.05 else float(total))
    fill(
        NOW,
        COUNT,
        interval=MINUTE,
        cpu_percent=lambda _: chance.randrange(10_000) / 100,
        load_1=lambda number: chance.randrange(9) / 4 if number % 90 == 7 else None,
        load_5=lambda number: 50.0 if number % 30 == 1 else 1.0,
        memory_percent=40.0,
        disk_percent=lambda number: number / COUNT * 90,
        network_sent_bytes=totals.__getitem__,
    )
    while store.roll_up():
        pass
    with history.view(seconds=300) as view:
        yield view


def test_they_are_those_of_the_buckets_however_many_are_asked_for(view: View) -> None:
    start, end = NOW + 30 * MINUTE, NOW + (COUNT - 20) * MINUTE
    buckets = view.buckets(start, end, MINUTE, METRICS, MINUTE)
    for count in (1, 40, 260, 5000):
        found = view.largest(METRICS, start, end, MINUTE, MINUTE, count)
        for metric in METRICS:
            largest, averages = found[metric.name], buckets.averages(metric.name)
            known = sorted((average for average in averages if average is not None), reverse=True)
            assert list(largest.averages) == pytest.approx(known[:count]), (metric.name, count)
            assert set(largest.weights) <= {60.0}
            maxima = [-1.0 if maximum is None else maximum for maximum in buckets.maxima(metric.name)]
            assert largest.highest == maxima.index(max(maxima)), (metric.name, count)
