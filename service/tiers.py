"""The tiers (samples, minutes, hours) and the one SQL reduction that serves rollups, averages, series and peaks.

Every tier answers the same question per bucket: how many samples, how much time, and of each metric the weighted
sum, the weight, the minimum and the maximum. These add up, so a bucket may be filled from two tiers that meet in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service import clock
from service.metrics import Metric, Sample
from service.schema import encode, stored


@dataclass(frozen=True, slots=True)
class Tier:
    """One resolution of the history; `seconds` is its grain, 1 for the samples themselves."""

    name: Literal["samples", "minutes", "hours"]
    table: str
    seconds: int


SAMPLES = Tier("samples", "sample", 1)
MINUTES = Tier("minutes", "minute", clock.MINUTE)
HOURS = Tier("hours", "hour", clock.HOUR)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rollups have come and what pruning has left, in unix seconds.

    Minutes are rolled up for ts < `minutes_until`, hours for ts < `hours_until`; samples are whole for
    ts >= `samples_from`, minutes for ts >= `minutes_from`.
    """

    minutes_until: int
    hours_until: int
    samples_from: int
    minutes_from: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The part start <= ts < end of a window, to be read from one tier."""

    tier: Tier
    start: int
    end: int


def plan(start: int, end: int, grain: int, progress: Progress) -> list[Segment]:
    """The segments that together cover start <= ts < end exactly once, in time order, each from the coarsest tier
    that is not coarser than `grain` seconds, that is rolled up there and whose buckets lie wholly inside.

    Where a finer tier has been pruned, the next coarser one that still has the time stands in; its buckets belong
    to the window that their start lies in.
    """
    segments: list[Segment] = []
    # Whole hours first, then what the edges leave to the minutes, then what those leave to the samples.
    hours = _whole(start, end, HOURS, progress.hours_until, grain)
    _around(segments, start, end, hours, grain, progress)
    return [segment for segment in segments if segment.start < segment.end]


def _whole(start: int, end: int, tier: Tier, until: int, grain: int) -> Segment | None:
    """The whole buckets of a tier inside the window; None where the tier is too coarse or has none."""
    if tier.seconds > grain:
        return None
    first = -(-start // tier.seconds) * tier.seconds
    last = min(end, until) // tier.seconds * tier.seconds
    return Segment(tier, first, last) if first < last else None


def _around(
    segments: list[Segment], start: int, end: int, inner: Segment | None, grain: int, progress: Progress
) -> None:
    if inner is None:
        _fine(segments, start, end, grain, progress)
        return
    _fine(segments, start, inner.start, grain, progress)
    segments.append(inner)
    _fine(segments, inner.end, end, grain, progress)


def _fine(segments: list[Segment], start: int, end: int, grain: int, progress: Progress) -> None:
    """Minutes and samples; hours only where the minutes are pruned."""
    pruned = min(end, progress.minutes_from)
    if start < pruned:
        segments.append(Segment(HOURS, start, pruned))
        start = pruned
    minutes = _whole(start, end, MINUTES, progress.minutes_until, grain)
    if minutes is None:
        _finest(segments, start, end, progress)
        return
    _finest(segments, start, minutes.start, progress)
    segments.append(minutes)
    _finest(segments, minutes.end, end, progress)


def _finest(segments: list[Segment], start: int, end: int, progress: Progress) -> None:
    """Samples; minutes only where the samples are pruned."""
    pruned = min(end, progress.samples_from)
    if start < pruned:
        segments.append(Segment(MINUTES, start, pruned))
        start = pruned
    segments.append(Segment(SAMPLES, start, end))


# Seconds before a start (?) within which the neighbour of the first sample before an end (?) stands: two intervals
# and a bit, of the longest interval that was set for any of these samples.
LOOKBACK = (
    "SELECT 2 * COALESCE(MAX(interval_seconds), 0) + 2 FROM run WHERE run_id IN "
    "(SELECT run_id FROM stretch WHERE stretch_id IN (SELECT stretch_id FROM sample WHERE ts >= ? AND ts < ?))"
)

# Columns that a reduction selects before those of the metrics: bucket number, samples, covered_ms.
LEADING = 3
# Columns of each metric: weighted sum (gauges: value x ms, counters: increase), weight in ms, minimum, maximum.
# All in stored integers; a counter's minimum is always NULL, its maximum is bytes a second.
PER_METRIC = 4


def reduction(tier: Tier, metrics: Sequence[Metric]) -> str:
    """SQL that reduces start <= ts < end of one tier to buckets.

    Parameters: :start, :end, :origin, :step, and for samples :lookback, seconds before start in which the sample
    before the first one may stand. A bucket's number is (ts - origin) / step; origin <= start.
    """
    expressions = [
        "(ts - :origin) / :step AS bucket",
        "COUNT(*)" if tier is SAMPLES else "SUM(samples)",
        "SUM(covered_ms)",
    ]
    for metric in metrics:
        expressions += _from_samples(metric) if tier is SAMPLES else _from_rollup(metric)
    source = _samples_source(metrics) if tier is SAMPLES else tier.table
    return f"SELECT {', '.join(expressions)} FROM {source} WHERE ts >= :start AND ts < :end GROUP BY bucket"


def reduce_samples(
    samples: Sequence[Sample], metrics: Sequence[Metric], start: int, end: int, origin: int, step: int
) -> list[list[int | None]]:
    """The rows that `reduction` would give if these samples, in the order in which they were taken, were stored."""
    rows: list[list[int | None]] = []
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
        return [None, 0, None, None] if value is None else [value * covered, covered, value, value]
    earlier = encode(before.values.get(metric.name), 1) if before else None
    if value is None or earlier is None or value < earlier:
        return [None, 0, None, None]
    rate = (value - earlier) * 1000 // covered if covered >= 100 else None
    return [value - earlier, covered, None, rate]


def _from_samples(metric: Metric) -> list[str]:
    if metric.is_counter:
        increase = f"{metric.name}_increase"
        weight = f"CASE WHEN {increase} IS NOT NULL THEN covered_ms END"
        # A sample taken right after another covers almost nothing; its rate would be a spike made of rounding.
        rate = f"MAX(CASE WHEN covered_ms >= 100 THEN {increase} * 1000 / covered_ms END)"
        return [f"SUM({increase})", f"COALESCE(SUM({weight}), 0)", "NULL", rate]
    column = stored(metric)
    weight = f"CASE WHEN {column} IS NOT NULL THEN covered_ms END"
    return [f"SUM({column} * covered_ms)", f"COALESCE(SUM({weight}), 0)", f"MIN({column})", f"MAX({column})"]


def _from_rollup(metric: Metric) -> list[str]:
    weight = f"COALESCE({metric.name}_covered_ms, covered_ms)"
    if metric.is_counter:
        return [f"SUM({metric.name}_increase)", f"SUM({weight})", "NULL", f"MAX({metric.name}_rate_max)"]
    return [
        f"SUM({stored(metric)} * {weight})",
        f"SUM({weight})",
        f"MIN({stored(metric, '_min')})",
        f"MAX({stored(metric, '_max')})",
    ]


def _samples_source(metrics: Sequence[Metric]) -> str:
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
    inner = f"SELECT *, {', '.join(differences)} FROM sample WHERE ts >= :start - :lookback AND ts < :end"
    return f"(SELECT *, {', '.join(increases)} FROM ({inner}))"
