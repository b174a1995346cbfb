"""The largest values of a window, and when a metric was highest: found in SQL, so that no answer holds every row.

A row of SQL here is one bucket of one metric: `n` (its number), `average` in natural units (a counter's in bytes a
second), `weight` (milliseconds in which the metric was known) and `high` (its maximum, as stored).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
        self._parameters: dict[str, Any] = {"origin": origin, "step": step}
        for number, segment in enumerate(segments):
            self._parameters |= {f"start{number}": segment.start, f"end{number}": segment.end}

    def largest(
        self, metrics: Sequence[Metric], count: int, waiting: Mapping[str, Sequence[ReducedRow]]
    ) -> dict[str, Largest]:
        """The `count` largest averages of each metric. `waiting`: by metric, its rows that are not stored yet."""
        found: dict[str, Largest] = {}
        if self._step == 1 and [segment.tier for segment in self._segments] == [SAMPLES] and not waiting:
            found |= self._largest_values([metric for metric in metrics if not metric.is_counter], count)
            found |= self._largest_rates([metric for metric in metrics if metric.is_counter], count)
        for metric in metrics:
            if metric.name not in found:
                found[metric.name] = self._largest(metric, count, waiting.get(metric.name, ()))
        return found

    def _largest(self, metric: Metric, count: int, waiting: Sequence[ReducedRow]) -> Largest:
        source = self._source(metric, bool(waiting))
        parameters = {**self._with_lookback(metric), "count": count, "waiting": _waiting_text(waiting)}
        (rows,) = self._columns(
            f"SELECT json_group_array(json_array(average, weight)) FROM (SELECT average, weight FROM {source} "
            "WHERE weight > 0 ORDER BY average DESC LIMIT :count)",
            parameters,
        )
        return Largest([row[0] for row in rows], [row[1] / 1000 for row in rows], self._highest(source, parameters))

    def _largest_values(self, gauges: Sequence[Metric], count: int) -> dict[str, Largest]:
        """Of samples as they are stored: the value of one is its average and its maximum."""
        (segment,) = self._segments
        columns = [
            f"(SELECT json_array(json_group_array({column}), json_group_array(covered_ms), json_group_array(ts)) "
            f"FROM (SELECT {column}, covered_ms, ts FROM sample WHERE ts >= :start AND ts < :end "
            f"AND {column} IS NOT NULL ORDER BY {column} DESC, ts LIMIT :count))"
            for column in map(stored, gauges)
        ]
        window = {"start": segment.start, "end": segment.end, "count": count}
        found = self._columns(f"SELECT {', '.join(columns)}", window) if columns else []
        return {
            gauge.name: Largest(
                [value / gauge.scale for value in values],
                [milliseconds / 1000 for milliseconds in covered],
                times[0] - self._parameters["origin"] if times else None,
            )
            for gauge, (values, covered, times) in zip(gauges, found, strict=True)
        }

    def _highest(self, source: str, parameters: Mapping[str, Any]) -> int | None:
        return self._statements.number(
            f"SELECT n FROM {source} WHERE high IS NOT NULL ORDER BY high DESC, n LIMIT 1", dict(parameters)
        )

    def highest(self, metric: Metric, waiting: Sequence[ReducedRow]) -> int | None:
        """The number of the first bucket that has the greatest maximum; None where nothing is known."""
        parameters = {**self._with_lookback(metric), "waiting": _waiting_text(waiting)}
        return self._highest(self._source(metric, bool(waiting)), parameters)

    def _columns(self, query: str, parameters: Mapping[str, Any]) -> list[list[Any]]:
        """The one row of a query, each column of which is a JSON array."""
        row = self._statements.row(query, parameters)
        assert row is not None
        return [msgspec.json.decode(column) for column in row]

    def _with_lookback(self, metric: Metric) -> dict[str, Any]:
        parameters = dict(self._parameters)
        if metric.is_counter:
            for number, segment in enumerate(self._segments):
                if segment.tier is SAMPLES:
                    parameters[f"lookback{number}"] = lookback_of(self._statements, segment)
        return parameters

    def _source(self, metric: Metric, waiting: bool) -> str:
        scale = 1000.0 if metric.is_counter else 1.0 / AVERAGE_SCALE
        parts = " UNION ALL ".join([*self._parts(metric), *([_WAITING] if waiting else [])])
        if self._step == 1:
            return f"(SELECT n, total * {scale} / weight AS average, weight, high FROM ({parts}))"
        return (
            f"(SELECT n, SUM(total) * {scale} / SUM(weight) AS average, SUM(weight) AS weight, MAX(high) AS high "
            f"FROM ({parts}) GROUP BY n)"
        )

    def _parts(self, metric: Metric) -> Iterator[str]:
        for number, segment in enumerate(self._segments):
            of = _of_samples(metric) if segment.tier is SAMPLES else _of_rollups(metric, segment)
            part = f"SELECT (ts - :origin) / :step AS n, {of} AND ts >= :start AND ts < :end"
            for name in ("start", "end", "lookback"):
                part = part.replace(f":{name}", f":{name}{number}")
            yield part

    def _largest_rates(self, counters: Sequence[Metric], count: int) -> dict[str, Largest]:
        """By columns, subtracted here: LAG in SQL takes three times as long."""
        (segment,) = self._segments
        names = ["ts", "stretch_id", "covered_ms", *(stored(metric) for metric in counters)]
        times, stretches, covered, *totals = _by_stretch(
            self._columns(
                f"SELECT {', '.join(f'json_group_array({name})' for name in names)} FROM sample "
                "WHERE ts >= :start - :lookback AND ts < :end",
                {"start": segment.start, "end": segment.end, "lookback": lookback_of(self._statements, segment)},
            )
        )
        return {
            metric.name: _largest_of(
                _rates(segment.start, times, stretches, covered, of), self._parameters["origin"], count
            )
            for metric, of in zip(counters, totals, strict=True)
        }


# (bytes a second, milliseconds, unix second)
_Rate = tuple[float, int, int]


def _by_stretch(columns: list[list[Any]]) -> list[list[Any]]:
    """The columns, each stretch in one piece: two lie across each other where the clock was set back."""
    stretches = columns[1]
    if stretches == sorted(stretches):
        return columns
    order = sorted(range(len(stretches)), key=stretches.__getitem__)
    return [[column[number] for number in order] for column in columns]


def _rates(
    start: int, times: Sequence[int], stretches: Sequence[int], covered: Sequence[int], totals: Sequence[int | None]
) -> list[_Rate]:
    """Of each sample from `start` on whose neighbour in its stretch, the row before, has no greater total."""
    return [
        ((total - before) * 1000 / milliseconds, milliseconds, ts)
        for before, total, stretch_before, stretch, milliseconds, ts in zip(
            totals, totals[1:], stretches, stretches[1:], covered[1:], times[1:], strict=False
        )
        if before is not None
        and total is not None
        and total >= before
        and stretch == stretch_before
        and ts >= start
        and milliseconds > 0
    ]


def _largest_of(rates: Sequence[_Rate], origin: int, count: int) -> Largest:
    largest = sorted(rates, reverse=True)[:count]
    # In whole bytes a second, as maxima are stored; a rate over almost no time is none.
    high = int(max([rate for rate, milliseconds, _ in rates if milliseconds >= LEAST_RATE_MS], default=0))
    highest = [ts for rate, milliseconds, ts in rates if rate >= high and milliseconds >= LEAST_RATE_MS]
    return Largest(
        [rate for rate, _, _ in largest],
        [milliseconds / 1000 for _, milliseconds, _ in largest],
        min(highest) - origin if highest else None,
    )


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
