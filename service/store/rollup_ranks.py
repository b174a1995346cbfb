"""The largest values of rows that are buckets by themselves, of all metrics in four passes.

SQL that sorts takes two passes for each metric, over rows of more than a hundred columns.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import msgspec

from service.metrics import Metric
from service.store.schema import average_scale
from service.store.statements import Statements
from service.store.tiers import Segment, rollup_columns

# Less than any average.
_LEAST = -1e300
# Rows from which a bound is guessed: of more, only every nth.
_GUESSED_FROM = 2000


@dataclass(frozen=True, slots=True)
class Top:
    """Of one metric: the greatest averages, greatest first, in natural units (a counter's in bytes a second); for how
    many seconds each was known; the greatest maximum as stored, and the number of the first bucket that has it."""

    averages: Sequence[float]
    weights: Sequence[float]
    high: int | None
    number: int | None


def known_ms(metric: Metric) -> str:
    """In SQL: the milliseconds of a row in which the metric was known."""
    return (
        "CASE WHEN partial IS NULL THEN covered_ms "
        f"ELSE COALESCE(json_extract(partial, '$.{metric.name}'), covered_ms) END"
    )


class RollupRows:
    """The rows of one segment, which are numbered by their bucket of `step` seconds from `origin` on."""

    def __init__(self, statements: Statements, segment: Segment, origin: int, step: int) -> None:
        self._statements, self._segment = statements, segment
        self._origin, self._step = origin, step

    def largest(self, metrics: Sequence[Metric], count: int) -> dict[str, Top]:
        """Of each metric the `count` greatest; a metric is left out where a guess has found too few or far too many of
        them, as of what hardly ever changes."""
        guessed = self._bounds(metrics, count)
        metrics = [metric for metric in metrics if metric.name in guessed]
        if not metrics:
            return {}
        pairs = []
        for number, metric in enumerate(metrics):
            average = _average(metric)
            pairs.append(f"group_concat({average} || ',' || {known_ms(metric)}) FILTER (WHERE {average} >= :{number})")
        texts = self._row(pairs, [guessed[metric.name] for metric in metrics])
        highs = self._row([f"MAX({_high(metric)})" for metric in metrics])
        firsts = [f"MIN(ts) FILTER (WHERE {_high(metric)} = :{number})" for number, metric in enumerate(metrics)]
        found = zip(metrics, texts, highs, self._row(firsts, highs), strict=True)
        tops = {metric.name: self._top(metric, text, count, high, ts) for metric, text, high, ts in found}
        return {name: top for name, top in tops.items() if len(top.averages) == count or guessed[name] == _LEAST}

    def _bounds(self, metrics: Sequence[Metric], count: int) -> dict[str, float]:
        """By name a value that is likely to be a little less than the `count` greatest, from every nth row."""
        segment = self._segment
        every = -(-(segment.end - segment.start) // segment.tier.seconds // _GUESSED_FROM)
        if every == 1:
            return {metric.name: _LEAST for metric in metrics}
        averages = [f"group_concat({_average(metric)})" for metric in metrics]
        expected = count // every
        rank = expected + 2 * isqrt(expected) + 1
        found: dict[str, float] = {}
        texts = self._row(averages, condition=f"AND ts % {every * segment.tier.seconds} = 0")
        for metric, text in zip(metrics, texts, strict=True):
            some = sorted(_numbers(text))
            bound = some[-rank - 1] if rank < len(some) else _LEAST
            if len(some) - bisect_left(some, bound) <= 2 * (rank + 1):
                found[metric.name] = bound
        return found

    def _row(self, columns: Sequence[str], values: Sequence[Any] = (), condition: str = "") -> Sequence[Any]:
        segment = self._segment
        parameters = {"start": segment.start, "end": segment.end, **{str(i): value for i, value in enumerate(values)}}
        row = self._statements.row(
            f"SELECT {', '.join(columns)} FROM {segment.tier.table} WHERE ts >= :start AND ts < :end {condition}",
            parameters,
        )
        assert row is not None
        return row

    def _top(self, metric: Metric, text: str | None, count: int, high: int | None, ts: int | None) -> Top:
        numbers = _numbers(text)
        pairs = sorted(zip(numbers[::2], numbers[1::2], strict=True), reverse=True)[:count]
        scale = 1 if metric.is_counter else average_scale(metric)
        return Top(
            array("d", [average / scale for average, _ in pairs]),
            array("d", [milliseconds / 1000 for _, milliseconds in pairs]),
            high,
            None if ts is None else (ts - self._origin) // self._step,
        )


def _average(metric: Metric) -> str:
    """In SQL: as stored, or in bytes a second; NULL where nothing is known."""
    value, _, _ = rollup_columns(metric)
    return f"({value} * 1000.0 / {known_ms(metric)})" if metric.is_counter else value


def _high(metric: Metric) -> str:
    return rollup_columns(metric)[2]


def _numbers(text: str | None) -> list[Any]:
    return msgspec.json.decode(f"[{text or ''}]")  # type: ignore[no-any-return]
