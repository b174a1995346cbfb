"""Replay: the history a moment at a time: what was measured then, who used the host, and which moment is next."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

from service.analysis import peaks as analysis
from service.answers.answer import metric_named
from service.answers.gaps import Gap, gaps
from service.answers.peaks import LEAST_PROMINENCE_PERCENT, PeakBucket, maximum_at
from service.answers.processes import Processes, by_named, processes, sort_for
from service.answers.resolution import resolution, stored_seconds
from service.answers.series import series
from service.answers.status import LATELY_SECONDS
from service.answers.usage import newest_of
from service.clock import DAY, HOUR, MINUTE
from service.metrics import METRICS
from service.records import Reason
from service.store.reader import Newest, View
from service.store.walk import Step

# Of a window that is drawn so many stand out at most: one mark in a dozen columns.
_MOST_PEAKS = 6


@dataclass(frozen=True, slots=True)
class Spot:
    """A stretch of time to stand on: a capture (start < t <= end), an hour where captures are gone, a gap, or a sample
    that no capture holds. `at`: where it is drawn."""

    start: int
    end: int
    kind: Literal["capture", "hour", "gap", "sample"]
    at: int
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """A metric in columns start + i*step <= t < start + (i+1)*step; None where nothing was recorded. `peaks` stand out
    of the window and of half as much on either side of it."""

    start: int
    step: int
    averages: list[float | None]
    peaks: list[PeakBucket]
    gaps: list[Gap]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a spot: of each metric the average, None where unknown; nobody in a gap."""

    values: Mapping[str, float | None]
    users: Processes | None


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest sample, the time that it stands for, and the newest capture, which is a little older; that time again
    where none is that new."""

    newest: Newest
    now: int
    sample: Spot
    capture: Spot


class Replay:
    """Reads one history; each method in a transaction of its own, since a person's keys lie far apart."""

    def __init__(
        self,
        view: Callable[[], AbstractContextManager[View]],
        now: Callable[[], int],
        open_gap_reason: Reason,
    ) -> None:
        self._view, self._now, self._open_gap_reason = view, now, open_gap_reason

    def ends(self) -> tuple[int, int]:
        """The first second of which anything is recorded, and the newest sample's.

        :raises HistoryUnreadable: if nothing is stored yet.
        """
        with self._view() as view:
            newest = newest_of(view).ts
            return min(view.oldest() or newest, newest), newest

    def latest(self) -> Latest:
        """
        :raises HistoryUnreadable: if nothing is stored yet.
        """
        with self._view() as view:
            newest = newest_of(view)
            sample = _sample(view, newest.ts)
            step = view.step_before(newest.ts)
            is_near = step is not None and newest.ts - step.end < LATELY_SECONDS
            return Latest(newest, self._now(), sample, _of_step(step) if step is not None and is_near else sample)

    def spot(self, ts: int) -> Spot:
        """What holds the moment."""
        with self._view() as view:
            return _spot(view, ts)

    def beside(self, spot: Spot, is_later: bool) -> Spot | None:
        """The next capture, or the one before; a gap that lies between comes first. None where there is neither."""
        with self._view() as view:
            edge = spot.end if is_later and spot.kind != "gap" else spot.start
            step = view.step_after(edge) if is_later else view.step_before(edge)
            between = (edge, step.start if step else edge) if is_later else (step.end if step else edge, edge)
            found = [] if spot.kind == "gap" else view.gaps(between[0], between[1])
            missing = [gap for gap in found if between[0] <= gap.start and gap.end <= between[1] + MINUTE]
            if missing:
                gap = missing[0 if is_later else -1]
                return Spot(gap.start, gap.end, "gap", gap.start, gap.reason)
            return None if step is None else _of_step(step)

    def using(self, text: str, by: str, spot: Spot, is_later: bool) -> Spot | None:
        """The next or the last before in which somebody whose name holds the text used the machine."""
        with self._view() as view:
            edge = spot.end if is_later and spot.kind != "gap" else spot.start
            step = view.step_using(text, by_named(by), edge, is_later)
            return None if step is None else _of_step(step)

    def highest(self, metric: str, start: int, end: int) -> Spot | None:
        """Where the metric was highest in start <= t < end; None where it is not known."""
        with self._view() as view:
            named = metric_named(metric)
            ts = maximum_at(view, named, start, end)
            if ts is not None and end - start > MINUTE:
                # Of a long window it is a minute or an hour: where samples are kept, which second of it.
                width = resolution("percentile", end - start).step
                ts = maximum_at(view, named, ts, min(end, ts + width)) or ts
            if ts is None:
                return None
            grain = _grain(view, ts)
            at = ts if grain == 1 else ts + grain // 2
            return replace(_spot(view, at), at=at)

    def busiest(self, metric: str) -> Spot | None:
        """Where the metric was highest in that minute of the last recorded day which used most of it."""
        end = self.ends()[1] + 1
        with self._view() as view:
            day = series(view, [metric], end - DAY, end, DAY // MINUTE + 2)
        known = [(value, ts) for value, ts in zip(day.series[metric].average, day.ts, strict=True) if value is not None]
        if not known:
            return None
        start = max(known)[1]
        return self.highest(metric, start, start + day.step)

    def course(self, metric: str, start: int, step: int, columns: int) -> Course:
        """`start` is a multiple of `step`, and that an even width of a bucket."""
        margin = columns // 2
        first, count = max(0, start - margin * step), columns + margin + min(margin, start // step)
        end = start + columns * step
        with self._view() as view:
            found = series(view, [metric], first, first + count * step, count + 1)
            missing = gaps(view, start, end, self._now(), self._open_gap_reason).gaps
        averages = found.series[metric].average
        places = [(start + (n * 2 + 1) * step // 2 - found.start) // found.step for n in range(columns)]
        floor = LEAST_PROMINENCE_PERCENT if found.series[metric].unit == "percent" else 0.0
        peaks = [
            PeakBucket(ts, ts + found.step, averages[n], found.series[metric].maximum[n], height)
            for n in analysis.peaks(averages, _MOST_PEAKS, minimum_prominence=floor)
            if start <= (ts := found.start + n * found.step) < end
            and (height := analysis.standing(averages, n)) is not None
            and height > floor
        ]
        return Course(start, step, [averages[place] for place in places], peaks, missing)

    def seen(self, spot: Spot, by: str, metric: str, count: int) -> Seen:
        """`by`: name or service; `metric`: whether by CPU or memory; `count`: how many users."""
        with self._view() as view:
            if spot.kind == "gap":
                return Seen(dict.fromkeys((each.name for each in METRICS), None), None)
            start, end, grain = _rows(view, spot)
            buckets = view.buckets(start, end, end - start, METRICS, grain)
            values = {each.name: buckets.averages(each.name)[0] for each in METRICS}
            sort = sort_for(metric_named(metric))
            users = processes(view, spot.start, spot.end, sort, count, by) if spot.kind != "sample" else None
            return Seen(values, users)


def _spot(view: View, ts: int) -> Spot:
    step = view.step_at(ts)
    if step is not None:
        return _of_step(step)
    for gap in view.gaps(ts, ts + 1):
        if gap.start < ts < gap.end:
            return Spot(gap.start, gap.end, "gap", ts, gap.reason)
    return _sample(view, ts)


def _sample(view: View, ts: int) -> Spot:
    return Spot(max(0, ts - stored_seconds(view, ts, ts + 1)), ts, "sample", ts)


def _of_step(step: Step) -> Spot:
    return Spot(step.start, step.end, step.grain, (step.start + step.end) // 2)


def _rows(view: View, spot: Spot) -> tuple[int, int, int]:
    """start <= ts < end of the rows that a spot is measured by, and their grain: a sample stands for the time before
    its stamp, a minute or hour, where samples are gone, for that after it."""
    grain = _grain(view, spot.start)
    if grain == 1:
        return (spot.start, spot.end, HOUR) if spot.kind == "hour" else (spot.start + 1, spot.end + 1, 1)
    start = spot.start // grain * grain
    return start, max(start + grain, -(-spot.end // grain) * grain), grain


def _grain(view: View, ts: int) -> int:
    """Seconds of the finest rows that are kept of a moment; 1 for samples."""
    progress = view.progress()
    return HOUR if ts < progress.minutes_from else MINUTE if ts < progress.samples_from else 1
