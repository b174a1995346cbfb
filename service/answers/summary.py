"""Summary: average, extremes, 95th percentile and trend of the headline metrics over a window."""

from math import fsum
from typing import Annotated, NamedTuple

from msgspec import Meta

from service.analysis.averages import percentile
from service.analysis.trend import Trend, TrendWord
from service.answers.answer import Answer, rounded
from service.answers.moments import Moment
from service.answers.resolution import resolution
from service.answers.trends import UsualShifts, trend_of
from service.clock import HOUR
from service.metrics import HEADLINES, Metric
from service.store.reader import Buckets, View

DEFAULT_SECONDS = HOUR
_FRACTION = 0.95


class MetricTrend(Answer, frozen=True):
    """`word` with its numbers, None where fewer than ten buckets are recorded."""

    word: TrendWord
    change_per_hour: float | None
    p_value: float | None


class MetricSummary(Answer, frozen=True):
    """One metric over the window; None where nothing is known."""

    unit: str
    average: float | None
    minimum: float | None
    maximum: float | None
    maximum_at: Moment | None
    p95: float | None
    trend: MetricTrend


class Summary(Answer, frozen=True):
    """start <= ts < end; `coverage` is the share of it that was recorded."""

    start: Moment
    end: Moment
    coverage: Annotated[float, Meta(ge=0, le=1)]
    metrics: dict[str, MetricSummary]


def summary(view: View, usual: UsualShifts, end: int, window_seconds: int) -> Summary:
    """Of end - window_seconds <= ts < end; the trend ends with the last whole bucket before `end`.

    The percentile is of samples up to two hours, of minute averages up to two days, of hour averages beyond;
    docs/statistics.md says how far off that can be.
    """
    start = end - window_seconds
    all_, course = resolution("whole", window_seconds), resolution("trend", window_seconds)
    first, last = (moment // course.step * course.step for moment in (start, end))
    whole = view.buckets(start, end, all_.step, HEADLINES, all_.tier.seconds)
    upper = _upper(view, whole, start, end)
    trend = view.buckets(first, last, course.step, HEADLINES, course.tier.seconds)
    shifts = usual.of(view, HEADLINES, last) if window_seconds == HOUR else {}
    return Summary(
        start=Moment(start),
        end=Moment(end),
        coverage=round(min(1.0, whole.covered_seconds / window_seconds), 4),
        metrics={
            metric.name: _statistics(
                metric, whole, upper[metric.name], trend_of(trend, metric, shifts.get(metric.name, ()))
            )
            for metric in HEADLINES
        },
    )


def _statistics(metric: Metric, whole: Buckets, upper: "_Upper", trend: Trend) -> MetricSummary:
    name = metric.name
    return MetricSummary(
        unit=metric.shown_unit,
        average=rounded(whole.averages(name)[0]),
        minimum=rounded(whole.minima(name)[0]),
        maximum=rounded(whole.maxima(name)[0]),
        maximum_at=None if upper.maximum_at is None else Moment(upper.maximum_at),
        p95=rounded(upper.percentile),
        trend=MetricTrend(
            word=trend.word, change_per_hour=rounded(trend.change_per_hour, 4), p_value=rounded(trend.p_value, 6)
        ),
    )


class _Upper(NamedTuple):
    percentile: float | None
    maximum_at: int | None


def _upper(view: View, whole: Buckets, start: int, end: int) -> dict[str, _Upper]:
    """Of each metric, from its largest values alone: as many as hold the last twentieth of the time, in which the
    percentile lies. Where samples cover unequal time, that may take more of them."""
    exact = resolution("percentile", end - start)
    found: dict[str, _Upper] = {}
    count = (end - start) // exact.step // 18 + 10
    while missing := [metric for metric in HEADLINES if metric.name not in found]:
        largest = view.largest(missing, start, end, exact.step, exact.tier.seconds, count)
        for name, top in largest.items():
            rest = whole.weights(name)[0] - fsum(top.weights)
            if len(top.averages) >= count and rest >= _FRACTION * whole.weights(name)[0]:
                continue
            lowest = top.averages[-1:] if rest > 0 else []
            p95 = percentile([*top.averages, *lowest], [*top.weights, *[rest][: len(lowest)]], _FRACTION)
            found[name] = _Upper(p95, None if top.highest is None else start + top.highest * exact.step)
        count *= 4
    return found
