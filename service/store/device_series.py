"""What one device, mount or service did over time, in buckets; and which there are.

Short windows come from rows, which are spread over the buckets that they cover; long ones from hours, as far as these
are reduced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.clock import DAY, HOUR
from service.store import device_rollups, usages
from service.store.device_metrics import SOURCES, DeviceMetric, Kind
from service.store.statements import Statements

# Windows that are longer are read from hours.
ROWS_SECONDS = 2 * DAY
# No row covers more: to the end of an hour, and as long as captures may be apart.
_SLACK_SECONDS = 2 * HOUR


@dataclass(slots=True)
class Column:
    """One metric, a value a bucket: sums of averages times weights, and of weights; the least and the greatest."""

    sums: list[float]
    weights: list[float]
    least: list[float | None]
    most: list[float | None]

    @classmethod
    def empty(cls, count: int) -> "Column":
        return cls([0.0] * count, [0.0] * count, [None] * count, [None] * count)

    @property
    def averages(self) -> list[float | None]:
        return [total / weight if weight else None for total, weight in zip(self.sums, self.weights, strict=True)]

    def add(self, bucket: int, average: float, weight: float, least: float | None, most: float | None) -> None:
        self.sums[bucket] += average * weight
        self.weights[bucket] += weight
        self.least[bucket] = _of_known(min, self.least[bucket], least)
        self.most[bucket] = _of_known(max, self.most[bucket], most)


def _of_known(choose: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return choose(one, other)


@dataclass(frozen=True, slots=True)
class DeviceName:
    """One that there is or was; `last_ts`: when it was last seen, to the day; None where that is unknown."""

    name: str
    number: int
    last_ts: int | None


def names(statements: Statements, kind: Kind, most: int) -> list[DeviceName]:
    """Those seen last come first."""
    query = f"SELECT name, number, last_ts FROM ({SOURCES[kind].names}) ORDER BY last_ts DESC, name LIMIT ?"
    return [DeviceName(*row) for row in statements.rows(query, (most,))]


def number_of(statements: Statements, kind: Kind, name: str) -> int | None:
    """None where there is none of that name."""
    return statements.number(f"SELECT number FROM ({SOURCES[kind].names}) WHERE name = ?", (name,))


def is_in_rows(statements: Statements, kind: Kind, start: int, end: int) -> bool:
    """Whether a window is short enough to be read from rows, and these are kept."""
    if end - start > ROWS_SECONDS:
        return False
    if kind == "mount":
        return start >= (statements.number("SELECT thinned_until FROM use_progress") or 0)
    return start >= _reduced(statements, kind)[1]


def _reduced(statements: Statements, kind: Kind) -> tuple[int, int]:
    """Until when there are hours, and from when on rows. File systems have rows alone, which thin out."""
    if kind == "mount":
        return 0, 0
    if kind == "service":
        hours_until, _, rows_from = usages.progress(statements)
        return hours_until, rows_from
    return device_rollups.progress(statements)


def course(
    statements: Statements,
    kind: Kind,
    number: int,
    metrics: Sequence[DeviceMetric],
    start: int,
    step: int,
    count: int,
    in_rows: bool,
) -> list[Column]:
    """Each metric in `count` buckets of `step` seconds from `start` on.

    `in_rows`: read from rows alone; otherwise `step` is whole hours, and rows give only what is not reduced yet.
    """
    columns = [Column.empty(count) for _ in metrics]
    window = {"number": number, "start": start, "step": step, "end": start + step * count}
    rows_from = start
    if not in_rows:
        rows_from = max(start, min(window["end"], _reduced(statements, kind)[0]))
        if kind == "mount":
            _add_hours(statements, SOURCES[kind].hours, metrics, {**window, "end": window["end"] - 1}, columns)
            return columns
        _add_hours(statements, SOURCES[kind].hours, metrics, {**window, "end": rows_from - 1}, columns)
    if rows_from < window["end"]:
        _add_rows(statements, SOURCES[kind].rows, metrics, {**window, "start": rows_from}, start, columns)
    return columns


def _add_hours(
    statements: Statements, source: str, metrics: Sequence[DeviceMetric], window: dict[str, int], columns: list[Column]
) -> None:
    """Added up by SQLite: five years are 43,800 of them."""
    each = ", ".join(
        f"SUM(1.0 * ({m.hour}) * {m.weight}) / SUM({m.weight}) FILTER (WHERE ({m.hour}) IS NOT NULL), "
        f"SUM({m.weight}) FILTER (WHERE ({m.hour}) IS NOT NULL), MIN({m.least}), MAX({m.most})"
        for m in metrics
    )
    query = f"SELECT (ts - :start) / :step AS bucket, {each} FROM ({source}) GROUP BY bucket"
    for bucket, *values in statements.rows(query, window):
        for place, column in enumerate(columns):
            average, weight, least, most = values[4 * place : 4 * place + 4]
            if average is not None:
                column.add(bucket, average, weight, least, most)


def _add_rows(
    statements: Statements,
    source: str,
    metrics: Sequence[DeviceMetric],
    window: dict[str, int],
    origin: int,
    columns: list[Column],
) -> None:
    """Each row over the buckets that it covers, as far as it lies in the window."""
    first, last, step = window["start"], window["end"], window["step"]
    each = ", ".join(f"{m.row}, {m.weight}" for m in metrics)
    found = statements.rows(
        f"SELECT ts - covered_ms / 1000.0, ts, {each} FROM ({source})", {**window, "end": last + _SLACK_SECONDS}
    )
    for begin, end, *values in found:
        covered = max(end - begin, 0.001)
        begin, end = max(begin, first), min(end, last)
        # One of no length lies where it ends.
        at = int(min(begin, last - 0.001) - origin) // step
        while begin < end:
            until = min(end, origin + (at + 1) * step)
            for place, column in enumerate(columns):
                average, weight = values[2 * place], values[2 * place + 1]
                if average is not None:
                    least = average if metrics[place].has_least else None
                    column.add(at, average, weight * (until - begin) / covered, least, average)
            begin, at = until, at + 1
