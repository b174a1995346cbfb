"""Series: metrics over time as columns for charts."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from service.answers.answer import Answer, check_rows, check_window, metric_named, rounded
from service.answers.moments import Moment
from service.answers.resolution import resolution, stored_seconds
from service.errors import BadParameter
from service.metrics import BY_NAME, Metric
from service.store.reader import Buckets, View
from service.store.tiers import DAYS

MOST_POINTS = 5000
DEFAULT_POINTS = 300


class SeriesColumns(Answer, frozen=True):
    """One metric: a value a bucket, None where nothing was recorded. Counters come as rates, without a minimum."""

    unit: str
    average: list[float | None]
    minimum: list[float | None]
    maximum: list[float | None]


class Series(Answer, frozen=True):
    """Buckets ts <= t < ts + step that together hold the window; `source` is the tier that filled them."""

    start: Moment
    end: Moment
    step: Annotated[int, Meta(ge=1)]
    source: Literal["samples", "minutes", "hours", "captures"]
    ts: Annotated[list[int], Meta(max_length=MOST_POINTS)]
    series: dict[str, SeriesColumns]


class SeriesRow(Answer, frozen=True):
    """One bucket of one metric, flat; `time` and `ts` are where the bucket starts."""

    time: Moment
    ts: int
    metric: str
    unit: str
    average: float | None
    minimum: float | None
    maximum: float | None


def series(view: View, names: Sequence[str], start: int, end: int, points: int) -> Series:
    """At most `points` evenly spaced buckets that together hold start <= ts < end.

    :raises BadParameter: if the window is empty, a metric unknown, or none given.
    """
    check_window(start, end)
    if not names:
        raise BadParameter(f"metric = nothing: takes one or more of {', '.join(BY_NAME)}")
    metrics = [metric_named(name) for name in dict.fromkeys(names)]
    finest = stored_seconds(view, start, end)
    chosen = resolution("series", end - start, start=start, points=points, least=finest)
    step = chosen.step
    start, end = start // step * step, -(-end // step) * step
    buckets = view.buckets(start, end, step, metrics, chosen.tier.seconds)
    return Series(
        start=Moment(start),
        end=Moment(end),
        step=step,
        # Days are not public: they are hours added up.
        source="hours" if chosen.tier is DAYS else chosen.tier.name,  # type: ignore[arg-type]
        ts=list(range(start, end, step)),
        series={metric.name: _columns(buckets, metric) for metric in metrics},
    )


def series_rows(answer: Series) -> list[SeriesRow]:
    """The same as flat rows: bucket by bucket in time order, and in each the metrics in the order of the answer.

    :raises BadParameter: if they are too many.
    """
    check_rows(len(answer.ts), len(answer.series))
    return [
        SeriesRow(
            time=Moment(ts),
            ts=ts,
            metric=name,
            unit=columns.unit,
            average=columns.average[number],
            minimum=columns.minimum[number],
            maximum=columns.maximum[number],
        )
        for number, ts in enumerate(answer.ts)
        for name, columns in answer.series.items()
    ]


def _columns(buckets: Buckets, metric: Metric) -> SeriesColumns:
    return SeriesColumns(
        unit=metric.shown_unit,
        average=[rounded(value) for value in buckets.averages(metric.name)],
        minimum=buckets.minima(metric.name),
        maximum=buckets.maxima(metric.name),
    )
