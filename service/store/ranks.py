"""The largest values of a window, and when a metric was highest: found in SQL, so that no answer holds every row.

A row of SQL here is one bucket of one metric: `n` (its number), `average` in natural units (a counter's in bytes a
second), `weight` (milliseconds in which the metric was known) and `high` (its maximum, as stored).
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any

import msgspec

from service.metrics import Metric
from service.store.rollup_ranks import RollupRows, Top, known_ms
from service.store.sample_ranks import Largest, RecentSamples
from service.store.schema import average_scale, product, stored, weighted
from service.store.statements import Row, Statements
from service.store.tiers import (
    LEAST_RATE_MS,
    SAMPLES,
    ReducedRow,
    Segment,
    lookback_of,
    rollup_columns,
    samples_source,
)


class Ranking:
    """One window, cut into buckets of `step` seconds from `origin`, to be read from these segments and from reduced
    rows of what is not stored yet. With `step` 1 each row is a bucket of its own, also where two share a second."""

    def __init__(
        self, statements: Statements, recent: RecentSamples, segments: Sequence[Segment], origin: int, step: int
    ) -> None:
        self._statements, self._recent, self._segments, self._step = statements, recent, segments, step
        self._pieces = [piece for segment in segments for piece in _pieces(segment, origin, step)]
        self._parameters: dict[str, Any] = {"origin": origin, "step": step}
        for number, (segment, _) in enumerate(self._pieces):
            self._parameters |= {f"start{number}": segment.start, f"end{number}": segment.end}

    def largest(
        self, metrics: Sequence[Metric], count: int, waiting: Mapping[str, Sequence[ReducedRow]]
    ) -> dict[str, Largest]:
        """The `count` largest averages of each metric. `waiting`: by metric, its rows that are not stored yet."""
        origin = self._parameters["origin"]
        if self._step == 1 and [segment.tier for segment in self._segments] == [SAMPLES] and not waiting:
            (segment,) = self._segments
            found = self._recent.largest(self._statements, segment, metrics, origin, count)
            metrics = [metric for metric in metrics if metric.name not in found]
        else:
            found = {}
        alone = [number for number, is_alone in enumerate(self._alone(bool(waiting))) if is_alone]
        rows = [number for number in alone if self._pieces[number][0].tier is not SAMPLES]
        tops = [
            RollupRows(self._statements, self._pieces[number][0], origin, self._step).largest(metrics, count)
            for number in rows
            if metrics
        ]
        for metric in metrics:
            known = [top[metric.name] for top in tops if metric.name in top]
            rest = [number for number in range(len(self._pieces)) if number not in rows]
            if len(known) < len(rows):
                # A guess has failed: all is sorted.
                known, rest = [], list(range(len(self._pieces)))
            if rest or waiting:
                known.append(self._top(metric, count, waiting.get(metric.name, ()), rest))
            found[metric.name] = _joined(known, count)
        return found

    def _top(self, metric: Metric, count: int, waiting: Sequence[ReducedRow], pieces: Sequence[int]) -> Top:
        source = self._source(metric, bool(waiting), pieces)
        parameters = {**self._with_lookback(metric), "count": count, "waiting": _waiting_text(waiting)}
        found = self._statements.row(
            f"SELECT json_group_array(json_array(average, weight)) FROM (SELECT average, weight FROM {source} "
            "WHERE weight > 0 ORDER BY average DESC LIMIT :count)",
            parameters,
        )
        assert found is not None
        rows = msgspec.json.decode(found[0])
        # Arrays take a fifth of what lists do, and an answer holds those of every metric.
        averages, weights = array("d", [row[0] for row in rows]), array("d", [row[1] / 1000 for row in rows])
        high, number = self._highest(source, parameters) or (None, None)
        return Top(averages, weights, high, number)

    def _highest(self, source: str, parameters: Mapping[str, Any]) -> Row | None:
        return self._statements.row(
            f"SELECT high, n FROM {source} WHERE high IS NOT NULL ORDER BY high DESC, n LIMIT 1", dict(parameters)
        )

    def highest(self, metric: Metric, waiting: Sequence[ReducedRow]) -> int | None:
        """The number of the first bucket that has the greatest maximum; None where nothing is known."""
        parameters = {**self._with_lookback(metric), "waiting": _waiting_text(waiting)}
        found = self._highest(self._source(metric, bool(waiting), range(len(self._pieces))), parameters)
        return None if found is None else int(found[1])

    def _with_lookback(self, metric: Metric) -> dict[str, Any]:
        parameters = dict(self._parameters)
        if metric.is_counter:
            for number, (segment, _) in enumerate(self._pieces):
                if segment.tier is SAMPLES:
                    parameters[f"lookback{number}"] = lookback_of(self._statements, segment)
        return parameters

    def _alone(self, waiting: bool) -> list[bool]:
        """Of each piece whether its rows are buckets by themselves; a sample that is not stored yet may lie in any
        bucket."""
        return [self._step == 1 or (is_alone and not waiting) for _, is_alone in self._pieces]

    def _source(self, metric: Metric, waiting: bool, pieces: Sequence[int]) -> str:
        """A row a bucket. What is grouped is sorted first, which takes longer than all the rest: rows that are buckets
        by themselves are not."""
        scale = 1000.0 if metric.is_counter else 1.0 / average_scale(metric)
        alone = self._alone(waiting)
        rows = [self._part(metric, number) for number in pieces if alone[number]]
        grouped = [self._part(metric, number) for number in pieces if not alone[number]]
        if waiting:
            (rows if self._step == 1 else grouped).append(_WAITING)
        found = []
        if rows:
            found.append(
                f"SELECT n, total * {scale} / weight AS average, weight, high FROM ({' UNION ALL '.join(rows)})"
            )
        if grouped:
            found.append(
                f"SELECT n, SUM(total) * {scale} / SUM(weight) AS average, SUM(weight) AS weight, MAX(high) AS high "
                f"FROM ({' UNION ALL '.join(grouped)}) GROUP BY n"
            )
        return f"({' UNION ALL '.join(found)})"

    def _part(self, metric: Metric, number: int) -> str:
        segment, _ = self._pieces[number]
        of = _of_samples(metric) if segment.tier is SAMPLES else _of_rollups(metric, segment)
        part = f"SELECT (ts - :origin) / :step AS n, {of} AND ts >= :start AND ts < :end"
        for name in ("start", "end", "lookback"):
            part = part.replace(f":{name}", f":{name}{number}")
        return part


def _pieces(segment: Segment, origin: int, step: int) -> Iterator[tuple[Segment, bool]]:
    """The segment, cut where a bucket begins that lies wholly in it, and where the last of these ends; with each piece
    whether its rows are buckets by themselves."""
    first = origin - (origin - segment.start) // step * step
    last = origin + (segment.end - origin) // step * step
    if segment.tier.seconds != step or first >= last:
        yield segment, False
        return
    for start, end, is_alone in ((segment.start, first, False), (first, last, True), (last, segment.end, False)):
        if start < end:
            yield Segment(segment.tier, start, end), is_alone


def _of_samples(metric: Metric) -> str:
    if metric.is_counter:
        increase = f"{metric.name}_increase"
        rate = f"CASE WHEN covered_ms >= {LEAST_RATE_MS} THEN {increase} * 1000 / covered_ms END"
        return f"{increase} AS total, covered_ms AS weight, {rate} AS high FROM {samples_source([metric])} " + (
            f"WHERE {increase} IS NOT NULL"
        )
    column = stored(metric)
    return f"{weighted(metric)} AS total, covered_ms AS weight, {column} AS high FROM sample WHERE {column} IS NOT NULL"


def _of_rollups(metric: Metric, segment: Segment) -> str:
    value, _, high = rollup_columns(metric)
    known = known_ms(metric)
    total = value if metric.is_counter else product(metric, value, known)
    return f"{total} AS total, {known} AS weight, {high} AS high FROM {segment.tier.table} WHERE {value} IS NOT NULL"


def _joined(tops: Sequence[Top], count: int) -> Largest:
    """Those of pieces that share no bucket."""
    if len(tops) == 1:
        (top,) = tops
        return Largest(top.averages, top.weights, top.number)
    each = (zip(top.averages, top.weights, strict=True) for top in tops)
    averages, weights = array("d"), array("d")
    for average, weight in islice(merge(*each, key=itemgetter(0), reverse=True), count):
        averages.append(average)
        weights.append(weight)
    maxima = [(top.high, -top.number) for top in tops if top.high is not None and top.number is not None]
    return Largest(averages, weights, -max(maxima)[1] if maxima else None)


_WAITING = (
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
    "json_extract(value, '$[3]') FROM json_each(:waiting)"
)


def _waiting_text(rows: Sequence[ReducedRow]) -> str:
    """Rows reduced to this one metric, as JSON: bucket, sum, weight, maximum."""
    return msgspec.json.encode([[row[0], row[3], row[4], row[6]] for row in rows if row[3] is not None]).decode()
