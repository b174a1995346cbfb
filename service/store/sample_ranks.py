"""The largest values of samples: a few passes over them for all metrics, where SQL that sorts takes one for each."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, nan
from typing import Any

import msgspec

from service.metrics import Metric
from service.store.schema import stored
from service.store.statements import Statements
from service.store.tiers import LEAST_RATE_MS, Segment, lookback_of


@dataclass(frozen=True, slots=True)
class Largest:
    """Of one metric over a window: the buckets with the greatest averages, greatest first, and the number of the first
    one that has the greatest maximum (None where nothing is known)."""

    averages: Sequence[float]
    weights: Sequence[float]
    highest: int | None


class SampleRanking:
    """The samples of one segment, each a bucket of its own, numbered by its second from `origin` on."""

    def __init__(self, statements: Statements, segment: Segment, origin: int) -> None:
        self._statements, self._segment, self._origin = statements, segment, origin

    def largest(self, metrics: Sequence[Metric], count: int) -> dict[str, Largest]:
        """A metric that is left out has to be read like those of any other tier."""
        segment = self._segment
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
            found[counter.name] = pairs.largest(column, self._origin, count)
        return found

    def _largest_values(
        self, gauges: Sequence[Metric], count: int, times: Sequence[int], covered: Sequence[int]
    ) -> dict[str, Largest]:
        """In one pass over the samples, of those values alone that reach a bound: a query that sorts takes a pass for
        each gauge, and to read every value takes twice as long."""
        segment = self._segment
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
        segment = self._segment
        span = segment.end - segment.start
        top = column[-count:][::-1]
        first = column[bisect_left(column, top[0] // span * span)] % span if top else None
        return Largest(
            [packed // span / gauge.scale for packed in top],
            [milliseconds[segment.start + packed % span] / 1000 for packed in top],
            None if first is None else first + segment.start - self._origin,
        )

    def _bounds(self, gauges: Sequence[Metric], count: int, total: int) -> list[int]:
        """Of each gauge a value that is likely to be a little less than the `count` greatest, from every eighth second;
        of a gauge of which too little is known one that is less than all."""
        segment = self._segment
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
