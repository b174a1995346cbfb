"""Summary: average, extremes, 95th percentile and trend of every metric over a window that ends now."""

from typing import Annotated

from msgspec import Meta

from service.analysis.averages import percentile
from service.analysis.trend import TrendWord
from service.answers.answer import Answer, rounded
from service.answers.moments import Moment
from service.answers.resolution import TREND_BUCKETS, resolution
from service.answers.trends import trend_of
from service.metrics import METRICS, Metric
from service.store.reader import Buckets, View


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


def summary(view: View, end: int, window_seconds: int) -> Summary:
    """The percentile is of samples up to two hours, of minute averages up to two days, of hour averages beyond;
    docs/statistics.md says how far off that can be."""
    start = end - window_seconds
    all_, exact = resolution("whole", window_seconds), resolution("percentile", window_seconds)
    course = resolution("trend", window_seconds)
    last = end // course.step * course.step
    whole = view.buckets(start, end, all_.step, METRICS, all_.tier.seconds)
    fine = view.buckets(start, end, exact.step, METRICS, exact.tier.seconds)
    trend = view.buckets(last - TREND_BUCKETS * course.step, last, course.step, METRICS, course.tier.seconds)
    return Summary(
        start=Moment(start),
        end=Moment(end),
        coverage=round(min(1.0, whole.covered_seconds / window_seconds), 4),
        metrics={metric.name: _statistics(metric, whole, fine, trend) for metric in METRICS},
    )


def _statistics(metric: Metric, whole: Buckets, fine: Buckets, course: Buckets) -> MetricSummary:
    name = metric.name
    trend = trend_of(course, metric)
    return MetricSummary(
        unit=metric.shown_unit,
        average=rounded(whole.averages(name)[0]),
        minimum=rounded(whole.minima(name)[0]),
        maximum=rounded(whole.maxima(name)[0]),
        maximum_at=when_highest(fine, name),
        p95=rounded(percentile(fine.averages(name), fine.weights(name), 0.95)),
        trend=MetricTrend(
            word=trend.word, change_per_hour=rounded(trend.change_per_hour, 4), p_value=rounded(trend.p_value, 6)
        ),
    )


def when_highest(buckets: Buckets, name: str) -> Moment | None:
    """The start of the bucket with the greatest maximum, the first of equal ones; None where nothing is known."""
    maxima = buckets.maxima(name)
    known = [number for number, value in enumerate(maxima) if value is not None]
    if not known:
        return None
    highest = max(known, key=lambda number: maxima[number] or 0.0)
    return Moment(buckets.start + highest * buckets.step)
