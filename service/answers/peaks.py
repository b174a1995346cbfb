"""Peaks: when a metric stood out in a window, and who used the machine then."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.analysis import peaks as analysis
from service.answers.answer import Answer, metric_named, rounded
from service.answers.moments import Date, Moment, TimeOfDay
from service.answers.processes import ProcessShare, shares, sort_for
from service.answers.resolution import PEAK_BUCKETS, Resolution, resolution, stored_seconds
from service.clock import DAY, HOUR, MINUTE
from service.metrics import Metric
from service.store.reader import Buckets, View

DEFAULT_COUNT = 3
DEFAULT_SECONDS = DAY
LISTED_PROCESSES = 5
# A hump lower than this many percent points is no peak that anyone would call one.
LEAST_PROMINENCE_PERCENT = 5.0


class Peak(Answer, frozen=True):
    """A bucket start <= ts < end whose average stands out, by `prominence` (unit of the metric): how far one must
    descend to a higher bucket; for the highest, to the end of the window. Below LEAST_PROMINENCE_PERCENT points it is
    listed only because it is the highest, and the page passes over it.

    `processes`, `services`: those that used most around `maximum_at`, in the captures that hold it, from
    `processes_start` to `processes_end`; in its hour where captures are gone; None and empty where none are known.
    """

    label: TimeOfDay
    date: Date
    start: Moment
    end: Moment
    average: float | None
    maximum: float | None
    maximum_at: Moment | None
    prominence: float | None
    processes_start: Moment | None
    processes_end: Moment | None
    processes: list[ProcessShare]
    services: list[ProcessShare]


class Peaks(Answer, frozen=True):
    """In time order; `start` is that of the first bucket."""

    start: Moment
    end: Moment
    metric: str
    peaks: list[Peak]


@dataclass(frozen=True, slots=True)
class Course:
    """The averages among which peaks are found: buckets of `step` seconds from `start` (unix seconds)."""

    start: int
    step: int
    averages: list[float | None]
    maxima: list[float | None]


@dataclass(frozen=True, slots=True)
class PeakBucket:
    """One bucket start <= ts < end of a course."""

    start: int
    end: int
    average: float | None
    maximum: float | None
    prominence: float | None


class PeakBuckets:
    """Finds the buckets that stand out. Those before the present one are kept while nothing in them can have changed:
    most of what the first answer after a sample would cost."""

    def __init__(self, offset: Callable[[int], int]) -> None:
        """`offset`: seconds by which local time is ahead of UTC at a moment; buckets are aligned to local time."""
        self._offset = offset
        self._kept: tuple[tuple[Any, ...], Buckets] | None = None

    def standing_out(
        self, view: View, metric: Metric, window: int, count: int, end: int, whole: bool = False
    ) -> list[PeakBucket]:
        """At most `count`, in time order."""
        course = self.course(view, metric, window, end, whole)
        floor = LEAST_PROMINENCE_PERCENT if metric.unit == "percent" else 0.0
        return [
            PeakBucket(
                start=course.start + n * course.step,
                end=min(end, course.start + (n + 1) * course.step),
                average=course.averages[n],
                maximum=course.maxima[n],
                prominence=analysis.standing(course.averages, n),
            )
            for n in analysis.peaks(course.averages, count=count, minimum_prominence=floor)
        ]

    def course(self, view: View, metric: Metric, window: int, end: int, whole: bool = False) -> Course:
        """All buckets, of which the last holds `end` - 1. `whole`: from that which the window begins in; else no two
        that are a window apart, so that over a day no time of day comes twice."""
        chosen = resolution("peaks", window)
        start, present = self.start(window, end, whole), self._floor(end - 1, chosen.step)
        parts = [
            self._past(view, metric, chosen, start=start, present=present),
            view.buckets(present, end, chosen.step, [metric], chosen.tier.seconds),
        ]
        return Course(
            start=start,
            step=chosen.step,
            averages=[value for part in parts for value in part.averages(metric.name)],
            maxima=[value for part in parts for value in part.maxima(metric.name)],
        )

    def start(self, window: int, end: int, whole: bool = False) -> int:
        """Of the first bucket."""
        step = resolution("peaks", window).step
        present = self._floor(end - 1, step)
        if not whole:
            return present - (max(PEAK_BUCKETS, -(-window // step)) - 1) * step
        return present - -(-(present - end + window) // step) * step

    def _floor(self, ts: int, step: int) -> int:
        """Where its bucket begins, by the local clock."""
        offset = self._offset(ts)
        return (ts + offset) // step * step - offset

    def _past(self, view: View, metric: Metric, chosen: Resolution, start: int, present: int) -> Buckets:
        key = (metric.name, start, present, chosen, view.settled(present))
        kept = self._kept
        if kept is None or kept[0] != key or key[-1] is None:
            past = view.buckets(start, present, chosen.step, [metric], chosen.tier.seconds)
            kept = self._kept = (key, past)
        return kept[1]


def peaks(
    view: View, buckets: PeakBuckets, metric_name: str, window: int, count: int, end: int, whole: bool = False
) -> Peaks:
    """Of the `window` seconds before `end`; `whole` as in PeakBuckets.course.

    :raises BadParameter: if there is no such metric.
    """
    metric = metric_named(metric_name)
    found = buckets.standing_out(view, metric, window, count, end, whole)
    return Peaks(
        start=Moment(buckets.start(window, end, whole)),
        end=Moment(end),
        metric=metric.name,
        peaks=[_peak(view, metric, bucket) for bucket in found],
    )


def _peak(view: View, metric: Metric, bucket: PeakBucket) -> Peak:
    at = maximum_at(view, metric, bucket.start, bucket.end)
    span = None if at is None else _captured(view, at, bucket)
    key = sort_for(metric)
    return Peak(
        label=TimeOfDay(bucket.start),
        date=Date(bucket.start),
        start=Moment(bucket.start),
        end=Moment(bucket.end),
        average=rounded(bucket.average),
        maximum=rounded(bucket.maximum),
        maximum_at=at,
        prominence=rounded(bucket.prominence),
        processes_start=None if span is None else Moment(span[0]),
        processes_end=None if span is None else Moment(span[1]),
        processes=[] if span is None else shares(view.usage(*span, key, LISTED_PROCESSES)),
        services=[] if span is None else shares(view.usage(*span, key, LISTED_PROCESSES, "service")),
    )


def maximum_at(view: View, metric: Metric, start: int, end: int) -> Moment | None:
    """The second, or where samples are gone the minute or hour, in which the metric was highest."""
    exact = resolution("percentile", end - start)
    highest = view.highest(metric, start, end, exact.step, exact.tier.seconds)
    return None if highest is None else Moment(highest)


def _captured(view: View, at: int, bucket: PeakBucket) -> tuple[int, int] | None:
    """The time of the captures that hold the maximum, or of the hour where they are gone; None where there is neither.

    A sample stands for the time before it, a minute or hour for that after its stamp.
    """
    seconds = max(
        stored_seconds(view, bucket.start, bucket.end), resolution("percentile", bucket.end - bucket.start).step
    )
    span = view.captures_at(at, at + seconds) if seconds >= MINUTE else view.captures_at(at - seconds, at)
    if span is not None:
        return span
    hour = at // HOUR * HOUR
    return (hour, hour + HOUR) if view.usage(hour, hour + HOUR, "cpu", 1).covered_seconds else None
