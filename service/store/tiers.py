"""The tiers (samples, minutes, hours, days) and the one SQL reduction that serves rollups, averages, series and peaks.

Every tier answers the same question per bucket: how many samples, how much time, and of each metric the weighted
sum, the weight, the minimum and the maximum. These add up, so a bucket may be filled from two tiers that meet in it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Literal

import msgspec

from service import clock
from service.metrics import COUNTERS, GAUGES, METRICS, Metric
from service.records import Sample
from service.store.schema import average_scale, encode, product, stored, stored_average, weighted
from service.store.statements import Row, Statements

# A sample that covers less has no rate worth keeping.
LEAST_RATE_MS = 100


@dataclass(frozen=True, slots=True)
class Tier:
    """One resolution of the history; `seconds` is its grain, 1 for the samples themselves."""

    name: Literal["samples", "minutes", "hours", "days"]
    table: str
    seconds: int


SAMPLES = Tier("samples", "sample", 1)
MINUTES = Tier("minutes", "minute", clock.MINUTE)
HOURS = Tier("hours", "hour", clock.HOUR)
# Not public: hours answer all that days do, but years of them take ten times as long to add up.
DAYS = Tier("days", "day", clock.DAY)
COARSEST_FIRST = (DAYS, HOURS, MINUTES, SAMPLES)


@dataclass(frozen=True, slots=True)
class RollupProgress:
    """How far the rollups have come and what pruning has left, in unix seconds; columns of the table of that name.

    Minutes, hours and days are rolled up for ts < their `until`; samples are whole for ts >= `samples_from`, minutes
    for ts >= `minutes_from`, and hours and days wherever they are.
    """

    minutes_until: int
    hours_until: int
    days_until: int
    samples_from: int
    minutes_from: int

    def until(self, tier: Tier) -> int:
        return {DAYS: self.days_until, HOURS: self.hours_until, MINUTES: self.minutes_until}[tier]

    def whole_from(self, tier: Tier) -> int:
        return {MINUTES: self.minutes_from, SAMPLES: self.samples_from}.get(tier, 0)


PROGRESS_COLUMNS = tuple(field.name for field in fields(RollupProgress))


def progress_of(statements: Statements) -> RollupProgress:
    (row,) = statements.rows(f"SELECT {', '.join(PROGRESS_COLUMNS)} FROM progress")
    return RollupProgress(**dict(zip(PROGRESS_COLUMNS, row, strict=True)))


@dataclass(frozen=True, slots=True)
class Segment:
    """The part start <= ts < end of a window, to be read from one tier."""

    tier: Tier
    start: int
    end: int


def plan(start: int, end: int, grain: int, progress: RollupProgress) -> list[Segment]:
    """The segments that together cover start <= ts < end exactly once, in time order, each from the coarsest tier
    that is not coarser than `grain` seconds, that is rolled up there and whose buckets lie wholly inside.

    Where a finer tier has been pruned, the next coarser one that still has the time stands in; its buckets belong
    to the window that their start lies in.
    """
    return _plan(start, end, grain, progress, 0)


def _plan(start: int, end: int, grain: int, progress: RollupProgress, level: int) -> list[Segment]:
    """With tiers from `level` on: whole buckets of the first, the edges from those after it."""
    if start >= end:
        return []
    tier = COARSEST_FIRST[level]
    pruned = min(end, progress.whole_from(tier))
    if start < pruned:
        stand_in = Segment(COARSEST_FIRST[level - 1], start, pruned)
        return [stand_in, *_plan(pruned, end, grain, progress, level)]
    if tier is SAMPLES:
        return [Segment(SAMPLES, start, end)]
    whole = _whole(start, end, tier, progress.until(tier)) if tier.seconds <= grain else None
    if whole is None:
        return _plan(start, end, grain, progress, level + 1)
    before = _plan(start, whole.start, grain, progress, level + 1)
    return [*before, whole, *_plan(whole.end, end, grain, progress, level + 1)]


def _whole(start: int, end: int, tier: Tier, until: int) -> Segment | None:
    """The whole buckets of a tier inside the window that are rolled up; None where there are none."""
    first = -(-start // tier.seconds) * tier.seconds
    last = min(end, until) // tier.seconds * tier.seconds
    return Segment(tier, first, last) if first < last else None


# Seconds before :start within which the neighbour of the first sample in start <= ts < end stands: two intervals and a
# bit, of the longest interval that was set for any of these samples.
_LOOKBACK = (
    "SELECT 2 * COALESCE(MAX(interval_seconds), 0) + 2 FROM run WHERE run_id IN "
    "(SELECT run_id FROM stretch WHERE stretch_id IN (SELECT stretch_id FROM sample WHERE ts >= :start AND ts < :end))"
)

# [bucket number, samples, covered_ms], then of each metric [weighted sum, weight in ms, minimum, maximum].
# Gauges: the sum is of value x ms, in `average_scale`; minimum and maximum are stored integers. Counters: the sum is
# the increase, the minimum always None, the maximum a second's.
ReducedRow = Sequence[Any]
LEADING = 3
PER_METRIC = 4
_JOINS: tuple[Callable[[list[int]], int], ...] = (sum, sum, min, max)


def reduce(
    statements: Statements, segment: Segment, metrics: Sequence[Metric], origin: int, step: int
) -> list[ReducedRow]:
    """Reduce one segment to buckets: bucket n is origin + n*step <= ts < origin + (n+1)*step, origin <= start.

    Buckets without a row are left out; a bucket may come in two rows, which `combine` joins.
    """
    window = {"start": segment.start, "end": segment.end}
    parameters = {**window, "origin": origin, "step": step}
    if segment.tier is SAMPLES:
        lookback = lookback_of(statements, segment) if any(metric.is_counter for metric in metrics) else 0
        found = statements.rows(_samples_reduction(metrics), {**parameters, "lookback": lookback})
        return [_row(text) for (text,) in found]
    ((first, last),) = statements.rows(_ENDS.format(segment.tier.table), window)
    if first is None:
        return []
    numbers = {"first": (first - origin) // step, "last": (last - origin) // step}
    is_dense = numbers["last"] - numbers["first"] < _MOST_SUBQUERIES
    found = statements.rows(_rollup_reduction(segment.tier, metrics, is_dense), {**parameters, **numbers})
    decoded = (_row(text) for (text,) in found)
    partial = statements.rows(_partial_rows(segment.tier, metrics), window)
    return [
        *(row for row in decoded if row[1] is not None),
        *(_of_partial(row, metrics, origin, step) for row in partial),
    ]


# What a function of SQLite takes (SQLITE_MAX_FUNCTION_ARG; 100 in older ones).
_MOST_ARGUMENTS = 100


def _array(expressions: Sequence[str]) -> str:
    """In SQL: the values as JSON, which makes one Python object of a row instead of hundreds; for `_row`."""
    starts = range(0, len(expressions), _MOST_ARGUMENTS)
    parts = [f"json_array({', '.join(expressions[at : at + _MOST_ARGUMENTS])})" for at in starts]
    return f"json_array({', '.join(parts)})"


def _row(text: str) -> ReducedRow:
    return list(chain.from_iterable(msgspec.json.decode(text)))


def lookback_of(statements: Statements, segment: Segment) -> int:
    """Seconds before the segment within which the neighbour of its first sample stands."""
    return statements.number(_LOOKBACK, {"start": segment.start, "end": segment.end}) or 0


def combine(rows: Iterable[ReducedRow], into: dict[int, ReducedRow]) -> None:
    """Take reduced rows into buckets by number; a bucket that two rows meet in is the sum of both."""
    for row in rows:
        number = row[0]
        into[number] = _joined(into[number], row) if number in into else row


def _joined(a: ReducedRow, b: ReducedRow) -> ReducedRow:
    joined: list[Any] = [a[0], a[1] + b[1], a[2] + b[2]]
    for at in range(LEADING, len(a), PER_METRIC):
        for offset, join in enumerate(_JOINS):
            known = [row[at + offset] for row in (a, b) if row[at + offset] is not None]
            joined.append(join(known) if known else None)
    return joined


# -- samples


def _samples_reduction(metrics: Sequence[Metric]) -> str:
    """Parameters: :start, :end, :origin, :step, :lookback (seconds before start in which the first one's neighbour may
    stand)."""
    bucket = "(ts - :origin) / :step"
    expressions = [bucket, "COUNT(*)", "SUM(covered_ms)"]
    for metric in metrics:
        expressions += _from_samples(metric)
    source = samples_source(metrics)
    return f"SELECT {_array(expressions)} FROM {source} WHERE ts >= :start AND ts < :end GROUP BY {bucket}"


def _from_samples(metric: Metric) -> list[str]:
    if metric.is_counter:
        increase = f"{metric.name}_increase"
        # A sample taken right after another covers almost nothing; its rate would be a spike made of rounding.
        rate = f"MAX(CASE WHEN covered_ms >= {LEAST_RATE_MS} THEN {increase} * 1000 / covered_ms END)"
        return [f"SUM({increase})", _weight(increase), "MIN(NULL)", rate]
    column = stored(metric)
    return [f"SUM({weighted(metric)})", _weight(column), f"MIN({column})", f"MAX({column})"]


def _weight(column: str) -> str:
    return f"COALESCE(SUM(CASE WHEN {column} IS NOT NULL THEN covered_ms END), 0)"


def samples_source(metrics: Sequence[Metric]) -> str:
    """The sample table, with each counter's increase since its neighbour in the same stretch, NULL after a reset."""
    counters = [metric for metric in metrics if metric.is_counter]
    if not counters:
        return "sample"
    differences = [
        f"{c.name} - LAG({c.name}) OVER (PARTITION BY stretch_id ORDER BY ts) AS {c.name}_difference" for c in counters
    ]
    increases = [
        f"CASE WHEN {c.name}_difference >= 0 THEN {c.name}_difference END AS {c.name}_increase" for c in counters
    ]
    # A window function keeps each row apart while it reads, so only what is wanted of it.
    columns = ", ".join(("ts", "covered_ms", *(stored(metric) for metric in metrics if not metric.is_counter)))
    inner = f"SELECT {columns}, {', '.join(differences)} FROM sample WHERE ts >= :start - :lookback AND ts < :end"
    return f"(SELECT {columns}, {', '.join(increases)} FROM ({inner}))"


def reduce_samples(
    samples: Sequence[Sample], metrics: Sequence[Metric], start: int, end: int, origin: int, step: int
) -> list[ReducedRow]:
    """The rows that `reduce` would give if these samples, in the order in which they were taken, were stored."""
    rows: list[ReducedRow] = []
    before: Sample | None = None
    for sample in samples:
        if start <= sample.ts < end:
            row: list[int | None] = [(sample.ts - origin) // step, 1, round(sample.covered_seconds * 1000)]
            for metric in metrics:
                row += _of_sample(metric, sample, None if sample.begins else before)
            rows.append(row)
        before = sample
    return rows


def _of_sample(metric: Metric, sample: Sample, before: Sample | None) -> list[int | None]:
    covered = round(sample.covered_seconds * 1000)
    value = encode(sample.values.get(metric.name), metric.scale)
    if not metric.is_counter:
        if value is None:
            return [None, 0, None, None]
        return [value * covered * round(average_scale(metric) / metric.scale), covered, value, value]
    earlier = encode(before.values.get(metric.name), 1) if before else None
    if value is None or earlier is None or value < earlier:
        return [None, 0, None, None]
    rate = (value - earlier) * 1000 // covered if covered >= LEAST_RATE_MS else None
    return [value - earlier, covered, None, rate]


# -- minutes and hours


_ENDS = "SELECT MIN(ts), MAX(ts) FROM {} WHERE ts >= :start AND ts < :end"
# More buckets than this are mostly empty ones: a clock that was wrong by years leaves such a span.
_MOST_SUBQUERIES = 20_000


def _rollup_reduction(tier: Tier, metrics: Sequence[Metric], is_dense: bool) -> str:
    """One JSON array a bucket, of the rows in which every metric is known for all of covered_ms or not at all.

    `is_dense`: a subquery for each bucket; GROUP BY would sort all rows first, which takes longer than adding them up.
    MIN(NULL): a bare NULL among so many aggregates comes out of SQLite 3.40 as the value of another one.
    Parameters: :start, :end, :origin, :step, :first and :last bucket.
    """
    expressions = ["n", "SUM(samples)", "SUM(covered_ms)"]
    for metric in metrics:
        value, low, high = rollup_columns(metric)
        total = f"SUM({value})" if metric.is_counter else f"SUM({product(metric, value, 'covered_ms')})"
        expressions += [total, _weight(value), f"MIN({low or 'NULL'})", f"MAX({high})"]
    if not is_dense:
        numbered = f"SELECT *, (ts - :origin) / :step AS n FROM {tier.table} WHERE ts >= :start AND ts < :end"
        return f"SELECT {_array(expressions)} FROM ({numbered}) WHERE partial IS NULL GROUP BY n"
    return (
        "WITH RECURSIVE bucket(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM bucket WHERE n < :last) "
        f"SELECT (SELECT {_array(expressions)} FROM {tier.table} "
        "WHERE ts >= MAX(:start, :origin + n * :step) AND ts < MIN(:end, :origin + (n + 1) * :step) "
        "AND partial IS NULL) FROM bucket"
    )


def rollup_columns(metric: Metric) -> tuple[str, str | None, str]:
    """The columns of what is added up, of the minimum (None for counters) and of the maximum."""
    if metric.is_counter:
        return f"{metric.name}_increase", None, f"{metric.name}_rate_max"
    return stored_average(metric), stored(metric, "_min"), stored(metric, "_max")


def _partial_rows(tier: Tier, metrics: Sequence[Metric]) -> str:
    columns = ["ts", "samples", "covered_ms", "partial"]
    for metric in metrics:
        value, low, high = rollup_columns(metric)
        columns += [value, low or "NULL", high]
    return f"SELECT {', '.join(columns)} FROM {tier.table} WHERE partial IS NOT NULL AND ts >= :start AND ts < :end"


def _of_partial(found: Row, metrics: Sequence[Metric], origin: int, step: int) -> ReducedRow:
    ts, samples, covered, partial = found[:4]
    known_ms: dict[str, int] = msgspec.json.decode(partial)
    row: list[int | None] = [(ts - origin) // step, samples, covered]
    for number, metric in enumerate(metrics):
        value, low, high = found[4 + 3 * number : 7 + 3 * number]
        weight = known_ms.get(metric.name, covered) if value is not None else 0
        total = value if value is None or metric.is_counter else value * weight
        row += [total, weight, low, high]
    return row


def rollup_row(ts: int, row: ReducedRow) -> list[Any]:
    """One row of a rollup table, in the order of its columns, from one reduced row of all metrics."""
    covered = row[2]
    stats = {m.name: row[LEADING + PER_METRIC * i : LEADING + PER_METRIC * (i + 1)] for i, m in enumerate(METRICS)}
    partial = {name: weight for name, (total, weight, *_) in stats.items() if total is not None and weight < covered}
    values: list[Any] = [ts, row[1], covered, msgspec.json.encode(partial).decode() if partial else None]
    for gauge in GAUGES:
        total, weight, low, high = stats[gauge.name]
        values += [round(total / weight) if weight else None, low, high]
    for counter in COUNTERS:
        total, _, _, high = stats[counter.name]
        values += [total, high]
    return values
