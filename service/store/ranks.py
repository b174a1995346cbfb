"""The largest values of a window, and when a metric was highest: found in SQL, so that no answer holds every row.

A row of SQL here is one bucket of one metric: `n` (its number), `average` in natural units (a counter's in bytes a
second), `weight` (milliseconds in which the metric was known) and `high` (its maximum, as stored).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, nan
from typing import Any

import msgspec

from service.metrics import Metric
from service.store.schema import AVERAGE_SCALE, stored
from service.store.statements import Statements
from service.store.tiers import (
    LEAST_RATE_MS,
    SAMPLES,
    ReducedRow,
    Segment,
    lookback_of,
    rollup_columns,
    samples_source,
)


@dataclass(frozen=True, slots=True)
class Largest:
    """Of one metric over a window: the buckets with the greatest averages, greatest first, and the number of the first
    one that has the greatest maximum (None where nothing is known)."""

    averages: Sequence[float]
    weights: Sequence[float]
    highest: int | None


class Ranking:
    """One window, cut into buckets of `step` seconds from `origin`, to be read from these segments and from reduced
    rows of what is not stored yet. With `step` 1 each row is a bucket of its own, also where two share a second."""

    def __init__(self, statements: Statements, segments: Sequence[Segment], origin: int, step: int) -> None:
        self._statements, self._segments, self._step = statements, segments, step
        self._pieces = [piece for segment in segments for piece in _pieces(segment, origin, step)]
        self._parameters: dict[str, Any] = {"origin": origin, "step": step}
        for number, (segment, _) in enumerate(self._pieces):
            self._parameters |= {f"start{number}": segment.start, f"end{number}": segment.end}

    def largest(
        self, metrics: Sequence[Metric], count: int, waiting: Mapping[str, Sequence[ReducedRow]]
    ) -> dict[str, Largest]:
        """The `count` largest averages of each metric. `waiting`: by metric, its rows that are not stored yet."""
        found: dict[str, Largest] = {}
        if self._step == 1 and [segment.tier for segment in self._segments] == [SAMPLES] and not waiting:
            found |= self._largest_of_samples(metrics, count)
        for metric in metrics:
            if metric.name not in found:
                found[metric.name] = self._largest(metric, count, waiting.get(metric.name, ()))
        return found

    def _largest(self, metric: Metric, count: int, waiting: Sequence[ReducedRow]) -> Largest:
        source = self._source(metric, bool(waiting))
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
        return Largest(averages, weights, self._highest(source, parameters))

    def _highest(self, source: str, parameters: Mapping[str, Any]) -> int | None:
        return self._statements.number(
            f"SELECT n FROM {source} WHERE high IS NOT NULL ORDER BY high DESC, n LIMIT 1", dict(parameters)
        )

    def highest(self, metric: Metric, waiting: Sequence[ReducedRow]) -> int | None:
        """The number of the first bucket that has the greatest maximum; None where nothing is known."""
        parameters = {**self._with_lookback(metric), "waiting": _waiting_text(waiting)}
        return self._highest(self._source(metric, bool(waiting)), parameters)

    def _with_lookback(self, metric: Metric) -> dict[str, Any]:
        parameters = dict(self._parameters)
        if metric.is_counter:
            for number, (segment, _) in enumerate(self._pieces):
                if segment.tier is SAMPLES:
                    parameters[f"lookback{number}"] = lookback_of(self._statements, segment)
        return parameters

    def _source(self, metric: Metric, waiting: bool) -> str:
        """A row a bucket. What is grouped is sorted first, which takes longer than all the rest: rows that are buckets
        by themselves are not."""
        scale = 1000.0 if metric.is_counter else 1.0 / AVERAGE_SCALE
        # A sample that is not stored yet may lie in any bucket.
        alone = [self._step == 1 or (is_alone and not waiting) for _, is_alone in self._pieces]
        parts = [self._part(metric, number) for number in range(len(self._pieces))]
        rows = [part for part, is_alone in zip(parts, alone, strict=True) if is_alone]
        grouped = [part for part, is_alone in zip(parts, alone, strict=True) if not is_alone]
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

    def _largest_of_samples(self, metrics: Sequence[Metric], count: int) -> dict[str, Largest]:
        """Of samples as they are stored; a metric that is left out has to be read like those of any other tier."""
        (segment,) = self._segments
        gauges = [metric for metric in metrics if not metric.is_counter]
        counters = [metric for metric in metrics if metric.is_counter]
        lookback = lookback_of(self._statements, segment) if counters else 0
        times, stretches, covered, *totals = self._columns(
            [
                f"group_concat(COALESCE({name}, 'null'))"
                for name in ("ts", "stretch_id", "covered_ms", *map(stored, counters))
            ],
            {"start": segment.start - lookback, "end": segment.end},
        )
        found = self._largest_values(gauges, count, times, covered) if gauges else {}
        pairs = _Neighbours(segment.start, times, stretches, covered)
        for counter, column in zip(counters, totals, strict=True):
            found[counter.name] = pairs.largest(column, self._parameters["origin"], count)
        return found

    def _largest_values(
        self, gauges: Sequence[Metric], count: int, times: Sequence[int], covered: Sequence[int]
    ) -> dict[str, Largest]:
        """In one pass over the samples, of those values alone that reach a bound: a query that sorts takes a pass for
        each gauge, and to read every value takes twice as long."""
        (segment,) = self._segments
        milliseconds = dict(zip(times, covered, strict=True))
        if len(milliseconds) < len(times):
            return {}  # two samples share a second, so that it does not say how long a value held
        bounds = self._bounds(gauges, count, len(times))
        # Value and second in one integer: a column for each would be two.
        packed = [
            f"group_concat({column} * (:end - :start) + ts - :start) FILTER (WHERE {column} >= :bound{number})"
            for number, column in enumerate(map(stored, gauges))
        ]
        parameters = {f"bound{number}": bound for number, bound in enumerate(bounds)}
        columns = self._columns(packed, {"start": segment.start, "end": segment.end, **parameters})
        found: dict[str, Largest] = {}
        for gauge, column, bound in zip(gauges, columns, bounds, strict=True):
            column.sort()
            # A huge value and its second are no integer of 64 bits.
            is_whole = not any(isinstance(packed, float) for packed in (column[:1] + column[-1:]))
            if is_whole and (len(column) >= count or bound == _LEAST):
                found[gauge.name] = self._of_packed(gauge, column, count, milliseconds)
        return found

    def _of_packed(self, gauge: Metric, column: list[int], count: int, milliseconds: Mapping[int, int]) -> Largest:
        (segment,) = self._segments
        span = segment.end - segment.start
        top = column[-count:][::-1]
        first = column[bisect_left(column, top[0] // span * span)] % span if top else None
        return Largest(
            [packed // span / gauge.scale for packed in top],
            [milliseconds[segment.start + packed % span] / 1000 for packed in top],
            None if first is None else first + segment.start - self._parameters["origin"],
        )

    def _bounds(self, gauges: Sequence[Metric], count: int, total: int) -> list[int]:
        """Of each gauge a value that is likely to be a little less than the `count` greatest, from every eighth second;
        of a gauge of which too little is known one that is less than all."""
        (segment,) = self._segments
        window = {"start": segment.start, "end": segment.end}
        names = ("ts", *map(stored, gauges))
        times, *columns = self._columns([f"group_concat({name})" for name in names], window, "AND ts % 8 = 0")
        rank = _rank(count, len(times), total)
        return [sorted(column, reverse=True)[rank] if rank < len(column) else _LEAST for column in columns]

    def _columns(
        self, concatenations: Sequence[str], parameters: Mapping[str, Any], condition: str = ""
    ) -> list[list[Any]]:
        """Each of integers of the samples start <= ts < end; a third faster than json_group_array."""
        row = self._statements.row(
            f"SELECT {', '.join(concatenations)} FROM sample WHERE ts >= :start AND ts < :end {condition}", parameters
        )
        assert row is not None
        return [msgspec.json.decode(f"[{numbers or ''}]") for numbers in row]


# Less than any stored value of a gauge, and less than any rate.
_LEAST, _UNKNOWN = -(2**63) + 1, -1.0


def _rank(count: int, some: int, total: int) -> int:
    """Which of `some` values, greatest first, is likely to be below the `count` greatest of all `total`: two standard
    deviations further down than where those end."""
    expected = count * some // max(1, total)
    return expected + 2 * isqrt(expected) + 1


class _Neighbours:
    """The samples from `start` on, and before them those in which the neighbour of the first may be, in the order of
    time; for rates, which are between neighbours of one stretch."""

    def __init__(self, start: int, times: list[int], stretches: list[int], covered: list[int]) -> None:
        # Neighbours stand one after the other once each stretch is in one piece: two lie across each other where the
        # clock was set back.
        is_apart = stretches != sorted(stretches)
        self._order = sorted(range(len(stretches)), key=stretches.__getitem__) if is_apart else None
        times, stretches, covered = map(self._by_stretch, (times, stretches, covered))
        self._times, self._covered = times[1:], covered[1:]
        # What an increase is divided by; no number where the row before is no neighbour.
        self._divisors = [
            milliseconds if stretch == before and ts >= start and milliseconds > 0 else nan
            for before, stretch, ts, milliseconds in zip(stretches, stretches[1:], times[1:], covered[1:], strict=False)
        ]
        self._has_short = min(covered, default=0) < LEAST_RATE_MS

    def _by_stretch(self, column: list[Any]) -> list[Any]:
        return column if self._order is None else [column[number] for number in self._order]

    def largest(self, column: list[int | None], origin: int, count: int) -> Largest:
        """Of the totals of one counter."""
        rates = self._rates(column)
        found = _largest_of(rates, self._covered, count)
        highest = self._highest_at(rates)
        return Largest(
            [rate for rate, _ in found],
            [milliseconds / 1000 for _, milliseconds in found],
            None if highest is None else highest - origin,
        )

    def _rates(self, column: list[int | None]) -> list[float]:
        """Bytes a second since the neighbour; _UNKNOWN where there is none, and where it has the greater total."""
        totals: list[Any] = self._by_stretch(column)
        if None in totals:
            totals = [nan if total is None else total for total in totals]
        # A comparison with what is no number is False.
        return [
            rate if (rate := (total - before) * 1000 / divisor) >= 0 else _UNKNOWN
            for before, total, divisor in zip(totals, totals[1:], self._divisors, strict=False)
        ]

    def _highest_at(self, rates: Sequence[float]) -> int | None:
        """When the greatest was first met, in whole bytes a second, as maxima are stored; a rate over almost no time
        is none."""
        if self._has_short:
            pairs = zip(rates, self._covered, strict=True)
            rates = [rate if milliseconds >= LEAST_RATE_MS else _UNKNOWN for rate, milliseconds in pairs]
        greatest = max(rates, default=_UNKNOWN)
        if greatest == _UNKNOWN:
            return None
        whole = float(int(greatest))
        return min([ts for rate, ts in zip(rates, self._times, strict=True) if rate >= whole])


def _largest_of(rates: Sequence[float], covered: Sequence[int], count: int) -> list[tuple[float, int]]:
    """The `count` greatest known rates and their milliseconds, greatest first."""
    # To sort all pairs takes ten times as long as to sort those that reach a bound.
    some = sorted(rates[::8], reverse=True)
    rank = _rank(count, len(some), len(rates))
    bound = max(0.0, some[rank]) if rank < len(some) else 0.0
    found = [(rate, milliseconds) for rate, milliseconds in zip(rates, covered, strict=True) if rate >= bound]
    if len(found) < count and bound > 0:
        found = [(rate, milliseconds) for rate, milliseconds in zip(rates, covered, strict=True) if rate >= 0]
    return sorted(found, reverse=True)[:count]


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
    total = f"{column} * covered_ms * {AVERAGE_SCALE // metric.scale}"
    return f"{total} AS total, covered_ms AS weight, {column} AS high FROM sample WHERE {column} IS NOT NULL"


def _of_rollups(metric: Metric, segment: Segment) -> str:
    value, _, high = rollup_columns(metric)
    known = (
        "CASE WHEN partial IS NULL THEN covered_ms "
        f"ELSE COALESCE(json_extract(partial, '$.{metric.name}'), covered_ms) END"
    )
    total = value if metric.is_counter else f"{value} * {known}"
    return f"{total} AS total, {known} AS weight, {high} AS high FROM {segment.tier.table} WHERE {value} IS NOT NULL"


_WAITING = (
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
    "json_extract(value, '$[3]') FROM json_each(:waiting)"
)


def _waiting_text(rows: Sequence[ReducedRow]) -> str:
    """Rows reduced to this one metric, as JSON: bucket, sum, weight, maximum."""
    return msgspec.json.encode([[row[0], row[3], row[4], row[6]] for row in rows if row[3] is not None]).decode()
