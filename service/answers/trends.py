"""Trend words of bucket means, as the endpoint and the summary give them."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from service.analysis.trend import Trend, middle, trend
from service.answers.resolution import resolution
from service.clock import DAY, HOUR, MINUTE
from service.metrics import Metric
from service.store.reader import Buckets, View

# Compared with the host's own week: the words that the endpoint gives. Each further one would cost 15 ms at the start.
COMPARED = ("cpu_percent", "memory_percent", "disk_percent")
# An hour is compared with those of the last week, which begin ten minutes apart.
USUAL_SECONDS = 7 * DAY
_APART = 10 * MINUTE
_THIRD = 20 * MINUTE
# Of minutes that are read at once.
_AT_ONCE = 12 * HOUR
# What is older than this has been rolled up: its averages are the same before and after a restart.
_ROLLED_UP_SECONDS = 10 * MINUTE

# Pure, and its minutes change once a minute while answers are made at each sample.
_trend_of = lru_cache(maxsize=64)(trend)


class UsualShifts:
    """By how much the metrics of this host shifted within each hour of the last week (`analysis.trend.shift`, its
    absolute value). Computed once an hour from the stored minutes, of which only the new ones are read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._middles: dict[str, dict[int, float | None]] = {}
        self._until: dict[str, int] = {}
        self._shifts: dict[str, tuple[float, ...]] = {}
        self._history: tuple[Any, ...] | None = None

    def of(self, view: View, metrics: Sequence[Metric], end: int) -> dict[str, tuple[float, ...]]:
        """Those of the week up to the last whole hour before `end`, by name of the metric; empty where it is none of
        COMPARED."""
        until = (end - _ROLLED_UP_SECONDS) // HOUR * HOUR
        with self._lock:
            self._forget_another(view, until)
            stale = [m for m in metrics if m.name in COMPARED and self._until.get(m.name) != until]
            for known in {self._until.get(metric.name) for metric in stale}:
                self._learn(view, [metric for metric in stale if self._until.get(metric.name) == known], known, until)
            return {metric.name: self._shifts.get(metric.name, ()) for metric in metrics}

    def _forget_another(self, view: View, until: int) -> None:
        """What was recorded before may have changed where a stretch has begun, or another database stands there."""
        settled = view.settled(until)
        history = settled and settled[1:]
        if history != self._history and settled is not None:
            self._until.clear()
            self._history = history

    def _learn(self, view: View, metrics: Sequence[Metric], known: int | None, until: int) -> None:
        oldest = until - USUAL_SECONDS
        start = oldest if known is None or not oldest < known < until else known - _THIRD + _APART
        found = _middles(view, metrics, start, until)
        for metric in metrics:
            kept = {} if start == oldest else self._middles[metric.name]
            kept = {at: value for at, value in kept.items() if at >= oldest} | found[metric.name]
            self._middles[metric.name], self._until[metric.name] = kept, until
            self._shifts[metric.name] = tuple(_shifts(kept))


def _middles(view: View, metrics: Sequence[Metric], start: int, end: int) -> dict[str, dict[int, float | None]]:
    """By name, those of `_middles_of` over start <= ts < end; a few hours at once, because the minutes of a week take
    8 MB."""
    found: dict[str, dict[int, float | None]] = {metric.name: {} for metric in metrics}
    for at in range(start, end, _AT_ONCE):
        minutes = view.buckets(at, min(end, at + _AT_ONCE + _THIRD - _APART), MINUTE, metrics, MINUTE)
        for metric in metrics:
            found[metric.name] |= _middles_of(minutes, metric.name)
    return found


def _middles_of(minutes: Buckets, name: str) -> dict[int, float | None]:
    """The median of each twenty minutes, by the second at which they begin."""
    averages, apart, third = minutes.averages(name), _APART // MINUTE, _THIRD // MINUTE
    starts = range(0, len(averages) - third + 1, apart)
    return {minutes.start + at * MINUTE: middle(averages[at : at + third]) for at in starts}


def _shifts(middles: dict[int, float | None]) -> list[float]:
    pairs = ((first, middles.get(start + HOUR - _THIRD)) for start, first in middles.items())
    return [abs(last - first) for first, last in pairs if first is not None and last is not None]


def trend_of(buckets: Buckets, metric: Metric, usual_shifts: tuple[float, ...] = ()) -> Trend:
    return _trend_of(tuple(buckets.averages(metric.name)), buckets.step, metric.minimum_change, usual_shifts)


def last_hour(view: View, usual: UsualShifts, end: int, metrics: Sequence[Metric]) -> dict[str, Trend]:
    """Of each metric over the sixty whole minutes before `end`, by its name."""
    chosen = resolution("trend", HOUR)
    last = end // chosen.step * chosen.step
    minutes = view.buckets(last - HOUR, last, chosen.step, metrics, chosen.tier.seconds)
    shifts = usual.of(view, metrics, last)
    return {metric.name: trend_of(minutes, metric, shifts[metric.name]) for metric in metrics}
