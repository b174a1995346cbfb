"""The largest values of recent samples, of all metrics at once: kept in memory, so that only what is new is read."""

import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import msgspec

from service.metrics import Metric
from service.store.schema import stored
from service.store.statements import Row, Statements
from service.store.tiers import LEAST_RATE_MS, Segment, lookback_of

# Changes with each new stretch, and where another database stands.
_CONTINUITY = (
    "SELECT MAX(stretch_id), (SELECT started_ts FROM run WHERE run_id = (SELECT MAX(run_id) FROM run)) FROM stretch"
)
# Less than any value of a gauge and than any rate, and the least of them.
_UNKNOWN, _LEAST = float("-inf"), -sys.float_info.max


@dataclass(frozen=True, slots=True)
class Largest:
    """Of one metric over a window: the buckets with the greatest averages, greatest first, and the number of the first
    one that has the greatest maximum (None where nothing is known)."""

    averages: Sequence[float]
    weights: Sequence[float]
    highest: int | None


class RecentSamples:
    """Ranks the samples of one history; may be asked by several threads.

    It keeps the columns of the newest samples, as far back as was asked for: eight bytes a value, of the two hours at
    most over which samples are ranked one by one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: _Columns | None = None

    def forget(self) -> None:
        with self._lock:
            self._kept = None

    def largest(
        self, statements: Statements, segment: Segment, metrics: Sequence[Metric], origin: int, count: int
    ) -> dict[str, Largest]:
        """Of each metric the `count` largest values among the samples of the segment, each a bucket of its own that is
        numbered by its second from `origin` on; a counter's are rates between neighbours.

        Empty where the clock was set back in that time: two samples may share a second, and neighbours stand apart.
        """
        with self._lock:
            columns = self._kept
            if columns is None or not columns.hold(statements, segment, metrics):
                columns = _Columns(segment, metrics, lookback_of(statements, segment))
            columns.read(statements, segment)
            if not columns.are_in_order:
                return {}
            if self._kept is None or columns.last >= self._kept.last:
                self._kept = columns
            return {metric.name: columns.largest(metric, segment, origin, count) for metric in metrics}


class _Columns:
    """Samples in the order in which they were taken, which is that of time as long as they are in order."""

    def __init__(self, segment: Segment, metrics: Sequence[Metric], lookback: int) -> None:
        """`lookback`: seconds before the segment within which the neighbour of its first sample stands."""
        self._start, self._metrics, self._lookback = segment.start, metrics, lookback
        self._seconds = 0
        self._times, self._covered = array("q"), array("q")
        self._values = {metric.name: array("d") for metric in metrics}
        # How many have been let go, and by metric what was found last.
        self._dropped, self._found = 0, dict[str, _Found]()
        self._stretch_id = 0
        self._totals: dict[str, int | None] = {}
        self._continuity: Row | None = None
        self.last, self.are_in_order = segment.start - lookback - 1, True

    def hold(self, statements: Statements, segment: Segment, metrics: Sequence[Metric]) -> bool:
        """Whether the segment begins among them, and they are still those that are stored: within a stretch stamps only
        rise, so what comes to lie among them begins another one."""
        begins = self._start <= segment.start <= self.last
        if not begins or not self._times or any(metric.name not in self._values for metric in metrics):
            return False
        return statements.row(_CONTINUITY) == self._continuity

    def read(self, statements: Statements, segment: Segment) -> None:
        """Take what was stored since, as far as the segment goes; let go of what is older than any window asked for."""
        names = ["ts", "stretch_id", "covered_ms", *map(stored, self._metrics)]
        # One string a column: a third faster than json_group_array, a tenth of the memory of rows.
        columns = ", ".join(f"group_concat(COALESCE({name}, 'null'))" for name in names)
        row = statements.row(f"SELECT {columns} FROM sample WHERE ts > ? AND ts < ?", (self.last, segment.end))
        assert row is not None
        self._continuity = statements.row(_CONTINUITY)
        times, stretches, covered, *values = (msgspec.json.decode(f"[{numbers or ''}]") for numbers in row)
        self._seconds = max(self._seconds, segment.end - segment.start)
        if times:
            self._add(times, stretches, covered, values)
            self._drop_before(self.last - self._seconds)

    def _add(self, times: list[int], stretches: list[int], covered: list[int], values: list[list[Any]]) -> None:
        stretches_before = [self._stretch_id, *stretches[:-1]]
        is_in_order = stretches_before[0] <= stretches[0] and stretches == sorted(stretches)
        self.are_in_order &= is_in_order and len(set(times)) == len(times)
        # What an increase is divided by; 0 where the sample before is no neighbour.
        divisors = [
            milliseconds if stretch == before and milliseconds > 0 else 0
            for before, stretch, milliseconds in zip(stretches_before, stretches, covered, strict=True)
        ]
        for metric, column in zip(self._metrics, values, strict=True):
            if metric.is_counter:
                self._values[metric.name].extend(_rates([self._totals.get(metric.name), *column], divisors))
                self._totals[metric.name] = column[-1]
            else:
                scale = metric.scale
                self._values[metric.name].extend(_UNKNOWN if value is None else value / scale for value in column)
        self._times.extend(times)
        self._covered.extend(covered)
        self.last, self._stretch_id = times[-1], stretches[-1]

    def _drop_before(self, start: int) -> None:
        old = bisect_left(self._times, start)
        # Each time would move all that stays.
        if old > len(self._times) // 8:
            del self._times[:old], self._covered[:old]
            for values in self._values.values():
                del values[:old]
            self._start, self._dropped = start, self._dropped + old

    def largest(self, metric: Metric, segment: Segment, origin: int, count: int) -> Largest:
        window = range(bisect_left(self._times, segment.start), bisect_left(self._times, segment.end))
        values, covered = self._values[metric.name], self._covered
        places = self._places(metric.name, window, count)
        highest = _first_maximum(values, covered, places, window) if metric.is_counter else next(iter(places), None)
        return Largest(
            [values[place] for place in places[:count]],
            [covered[place] / 1000 for place in places[:count]],
            None if highest is None else self._times[highest] - origin,
        )

    def _places(self, name: str, window: range, count: int) -> list[int]:
        """Where the `count` greatest known values of the window stand, and some more; greatest first, equal ones in the
        order of time."""
        values, before = self._values[name], self._found.get(name)
        places = [] if before is None else before.go_on(values, window, self._dropped)
        if before is None or not count <= len(places) <= 2 * count:
            bound = _bound(values[window.start : window.stop], count)
            places = [place for place in window if values[place] >= bound]
            if len(places) < count or bound == _UNKNOWN:
                bound = _LEAST
                places = [place for place in window if values[place] > _UNKNOWN]
        else:
            bound = before.bound
        self._found[name] = _Found(bound, window, self._dropped, places)
        return sorted(places, key=values.__getitem__, reverse=True)


class _Found(NamedTuple):
    """All places of a window whose values reach a bound, in the order of time; counted when so many had been let go."""

    bound: float
    window: range
    dropped: int
    places: list[int]

    def go_on(self, values: Sequence[float], window: range, dropped: int) -> list[int]:
        """Those of a later window, for which only what is new is looked at; none where it begins before this one."""
        moved = dropped - self.dropped
        first, end = self.window.start - moved, self.window.stop - moved
        if not first <= window.start <= end <= window.stop:
            return []
        kept = self.places[bisect_left(self.places, window.start + moved) :]
        new = [place for place in range(end, window.stop) if values[place] >= self.bound]
        return [place - moved for place in kept] + new


def _rates(totals: Sequence[int | None], divisors: Sequence[int]) -> list[float]:
    """Bytes a second since the neighbour, of each total but the first; unknown where it fell."""
    return [
        (total - before) * 1000 / divisor
        if divisor and total is not None and before is not None and total >= before
        else _UNKNOWN
        for before, total, divisor in zip(totals, totals[1:], divisors, strict=False)
    ]


def _bound(values: Sequence[float], count: int) -> float:
    """What is likely to be a little less than the `count` greatest, from every eighth: two standard deviations further
    down than where they end among these. To sort all takes ten times as long as to sort those that reach it."""
    some = sorted(values[::8], reverse=True)
    expected = count * len(some) // max(1, len(values))
    rank = expected + 2 * isqrt(expected) + 1
    return some[rank] if rank < len(some) else _UNKNOWN


def _first_maximum(rates: Sequence[float], covered: Sequence[int], places: Sequence[int], window: range) -> int | None:
    """Where the greatest stands first, in whole bytes a second, as maxima are stored; one over almost no time is none.
    `places`: of all that reach a bound."""
    known = [place for place in places if covered[place] >= LEAST_RATE_MS]
    if not known:
        known = [place for place in window if rates[place] > _UNKNOWN and covered[place] >= LEAST_RATE_MS]
    if not known:
        return None
    whole = max(rates[place] for place in known) // 1
    # Where the bound is higher than that, others that are the same in whole bytes do not reach it.
    among = known if min(rates[place] for place in places) < whole else window
    return min(place for place in among if rates[place] >= whole and covered[place] >= LEAST_RATE_MS)
