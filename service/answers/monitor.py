"""ResourceMonitor: the answers that web and command line both give, from the stored history through analysis."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from service import clock
from service.analysis import forecast
from service.analysis.averages import percentile
from service.analysis.peaks import peaks as standing_out
from service.analysis.trend import Trend, trend
from service.answers.insights import SCORE_SQL, Asked, findings
from service.clock import DAY, HOUR, MINUTE, Clock
from service.config import Settings
from service.errors import BadParameter, HistoryUnreadable
from service.metrics import BY_NAME, METRICS, Metric
from service.store.captures import Usage
from service.store.reader import Buckets, History, Newest, View
from service.store.tiers import DAYS, HOURS, MINUTES, SAMPLES, Tier

PEAK_BUCKETS = 48
PEAK_COUNT = 3
PEAK_PROCESSES = 5
PROCESS_COUNT = 10
MOST_PROCESSES = 100
SORTS = ("cpu", "memory")
# A hump lower than this many percent points is no peak that anyone would call one.
PEAK_PROMINENCE = 5.0
TREND_BUCKETS = 60
MOST_POINTS = 5000
DEFAULT_POINTS = 300
# Bucket widths that divide minutes, hours and days evenly, in seconds.
_STEPS = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    180,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10800,
    14400,
    21600,
    28800,
    43200,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What /api/process/resource-usage says after one stored sample; `taken_at` is the steady clock then."""

    version: int
    taken_at: float
    current: dict[str, Any]
    trends: dict[str, Any]
    timestamp: str


@dataclass(frozen=True, slots=True)
class Peak:
    """A bucket start <= ts < end whose average stands out."""

    start: int
    end: int
    average: float | None
    maximum: float | None


class ResourceMonitor:
    """Answers from one history. Any thread may ask."""

    def __init__(
        self,
        history: History,
        settings: Settings,
        clock_: Clock,
        version: Callable[[], int] = lambda: 0,
        open_gap_reason: str = "killed",
    ) -> None:
        """`version`: changes whenever a sample has been stored; until then an answer is kept. `open_gap_reason`: why
        nothing is recorded now, where the newest sample is old and its run was not stopped cleanly."""
        self._history, self._clock, self._version = history, clock_, version
        self._open_gap_reason = open_gap_reason
        self._peak_window = int(settings.analysis.peak_window)
        self._zone = clock.zone(settings.analysis.timezone)
        self._interval = settings.sampling.interval
        self._snapshot: Snapshot | None = None
        self._kept_past: tuple[tuple[Any, ...], Buckets] | None = None
        self._lock = threading.Lock()
        self._insights: tuple[float, dict[str, Any]] | None = None
        self._insights_lock = threading.Lock()

    # -- /api/process/resource-usage

    def get_current_usage(self) -> dict[str, Any]:
        """The newest sample, in the words of the contract."""
        return self.snapshot().current

    def get_timestamp(self) -> str:
        """When the newest sample was taken."""
        return self.snapshot().timestamp

    def get_usage_trends(self) -> dict[str, Any]:
        """Averages, trend words and peak times of the stored history up to the newest sample."""
        return self.snapshot().trends

    def trend_words(self, names: Sequence[str]) -> dict[str, str]:
        """The trend word of each metric over the hour before the newest sample, as in `get_usage_trends`.

        :raises HistoryUnreadable: if the history cannot be read or is empty.
        """
        metrics = [_metric(name) for name in names]
        last = (self.newest().ts + 1) // MINUTE * MINUTE
        with self._history.view() as view:
            minutes = view.buckets(last - HOUR, last, MINUTE, metrics, MINUTE)
        return {metric.name: _trend(minutes, metric).word for metric in metrics}

    def newest(self) -> Newest:
        """The newest sample, whole.

        :raises HistoryUnreadable: if the history cannot be read or is empty.
        """
        with self._history.view() as view:
            newest = view.newest()
        if newest is None:
            raise HistoryUnreadable("no sample has been stored yet")
        return newest

    def snapshot(self) -> Snapshot:
        """Computed at most once per stored sample; afresh also when no sample has come for two intervals, so that a
        history that can no longer be read is not hidden by what is in memory.

        :raises HistoryUnreadable: if the history cannot be read or is empty.
        """
        kept, version, now = self._snapshot, self._version(), clock.steady()
        if kept is not None and kept.version == version and now - kept.taken_at < 2 * self._interval:
            return kept
        with self._lock:
            kept, version = self._snapshot, self._version()
            if kept is None or kept.version != version or now - kept.taken_at >= 2 * self._interval:
                kept = self._snapshot = self._compute(version, now)
            return kept

    def _compute(self, version: int, now: float) -> Snapshot:
        with self._history.view() as view:
            newest = view.newest()
            if newest is None:
                raise HistoryUnreadable("no sample has been stored yet")
            return Snapshot(version, now, _current(newest), self._trends(view, newest.ts + 1), self._text(newest.ts))

    def _trends(self, view: View, end: int) -> dict[str, Any]:
        cpu, memory, disk = (BY_NAME[name] for name in ("cpu_percent", "memory_percent", "disk_percent"))
        hour = view.buckets(end - HOUR, end, HOUR, [cpu, memory], HOUR)
        last = end // MINUTE * MINUTE
        minutes = view.buckets(last - HOUR, last, MINUTE, [cpu, memory, disk], MINUTE)
        words = {m.name: _trend(minutes, m).word for m in (cpu, memory, disk)}
        peaks = self._peaks(view, cpu, self._peak_window, PEAK_COUNT, end)
        return {
            "cpu_trend": words["cpu_percent"],
            "memory_trend": words["memory_percent"],
            "disk_trend": words["disk_percent"],
            "peak_usage_times": [clock.clock_label(peak.start, self._zone) for peak in peaks],
            "average_cpu_last_hour": _rounded(hour.averages("cpu_percent")[0], 1),
            "average_memory_last_hour": _rounded(hour.averages("memory_percent")[0], 1),
        }

    # -- summary

    def summary(self, window_seconds: int = HOUR) -> dict[str, Any]:
        """Average, extremes, 95th percentile and trend of every metric over the window that ends now.

        The percentile is of samples up to two hours, of minute averages up to two days, of hour averages beyond;
        docs/statistics.md says how far off that can be.
        """
        end = int(self._clock.now().wall) + 1
        start = end - window_seconds
        tier = SAMPLES if window_seconds <= 2 * HOUR else MINUTES if window_seconds <= 2 * DAY else HOURS
        step = _trend_step(window_seconds)
        last = end // step * step
        with self._history.view() as view:
            whole = view.buckets(start, end, window_seconds, METRICS, DAY)
            fine = view.buckets(start, end, tier.seconds, METRICS, tier.seconds)
            course = view.buckets(last - TREND_BUCKETS * step, last, step, METRICS, step)
        return {
            **self._window(start, end),
            "coverage": round(min(1.0, whole.covered_seconds / window_seconds), 4),
            "metrics": {metric.name: self._statistics(metric, whole, fine, course) for metric in METRICS},
        }

    def _statistics(self, metric: Metric, whole: Buckets, fine: Buckets, course: Buckets) -> dict[str, Any]:
        name = metric.name
        maximum = whole.maxima(name)[0]
        trend = _trend(course, metric)
        return {
            "unit": metric.shown_unit,
            "average": _rounded(whole.averages(name)[0]),
            "minimum": _rounded(whole.minima(name)[0]),
            "maximum": _rounded(maximum),
            "maximum_at": self._when_highest(fine, name),
            "p95": _rounded(percentile(fine.averages(name), fine.weights(name), 0.95)),
            "trend": {
                "word": trend.word,
                "change_per_hour": _rounded(trend.change_per_hour, 4),
                "p_value": _rounded(trend.p_value, 6),
            },
        }

    def _when_highest(self, buckets: Buckets, name: str) -> str | None:
        maxima = buckets.maxima(name)
        known = [number for number, value in enumerate(maxima) if value is not None]
        if not known:
            return None
        highest = max(known, key=lambda number: maxima[number] or 0.0)
        return self._text(buckets.start + highest * buckets.step)

    # -- peaks

    def peaks(self, metric: str = "cpu_percent", window_seconds: int = DAY, count: int = PEAK_COUNT) -> dict[str, Any]:
        """When the metric stood out in the window that ends now, in buckets of a 48th of it."""
        end = int(self._clock.now().wall) + 1
        with self._history.view() as view:
            found = self._peaks(view, _metric(metric), window_seconds, count, end)
            peaks = [self._told(view, _metric(metric), peak) for peak in found]
        return {
            **self._window(self._peak_start(end, _peak_step(window_seconds)), end),
            "metric": metric,
            "peaks": peaks,
        }

    def _peaks(self, view: View, metric: Metric, window: int, count: int, end: int) -> list[Peak]:
        start, step, averages, maxima = self._peak_buckets(view, metric, window, end)
        floor = PEAK_PROMINENCE if metric.unit == "percent" else 0.0
        return [
            Peak(start + n * step, min(end, start + (n + 1) * step), averages[n], maxima[n])
            for n in standing_out(averages, count=count, minimum_prominence=floor)
        ]

    def peak_course(self, metric: str = "cpu_percent", window_seconds: int = DAY) -> dict[str, Any]:
        """The averages among which `peaks` looks: 48 buckets of `step` seconds from `start` (unix seconds)."""
        end = int(self._clock.now().wall) + 1
        with self._history.view() as view:
            start, step, averages, _ = self._peak_buckets(view, _metric(metric), window_seconds, end)
        return {"start": start, "step": step, "average": averages}

    def _peak_buckets(
        self, view: View, metric: Metric, window: int, end: int
    ) -> tuple[int, int, list[float | None], list[float | None]]:
        """Start, step, averages and maxima."""
        step = _peak_step(window)
        start = self._peak_start(end, step)
        present = start + (PEAK_BUCKETS - 1) * step
        # Local clocks may stand half an hour off the hour, so hour rows serve only where buckets are much wider.
        grain = HOUR if step > 6 * HOUR else MINUTE
        parts = [
            self._past(view, metric, start, present, step, grain),
            view.buckets(present, end, step, [metric], grain),
        ]
        averages = [value for part in parts for value in part.averages(metric.name)]
        maxima = [value for part in parts for value in part.maxima(metric.name)]
        return start, step, averages, maxima

    def _past(self, view: View, metric: Metric, start: int, present: int, step: int, grain: int) -> Buckets:
        """The buckets before the present one, kept while nothing in them can have changed: most of what the first
        answer after a sample would cost."""
        key = (metric.name, start, present, step, view.settled(present))
        kept = self._kept_past
        if kept is None or kept[0] != key or key[-1] is None:
            kept = self._kept_past = (key, view.buckets(start, present, step, [metric], grain))
        return kept[1]

    def _told(self, view: View, metric: Metric, peak: Peak) -> dict[str, Any]:
        return {
            "label": clock.clock_label(peak.start, self._zone),
            **self._window(peak.start, peak.end),
            "average": _rounded(peak.average),
            "maximum": _rounded(peak.maximum),
            "maximum_at": self._maximum_at(view, metric, peak.start, peak.end),
            "processes": _uses(view.use(peak.start, peak.end, sort_for(metric), PEAK_PROCESSES)),
        }

    def _maximum_at(self, view: View, metric: Metric, start: int, end: int) -> str | None:
        """The second, or where samples are gone the minute or hour, in which the metric was highest."""
        step = 1 if end - start <= 2 * HOUR else MINUTE if end - start <= 2 * DAY else HOUR
        return self._when_highest(view.buckets(start, end, step, [metric], step), metric.name)

    def _peak_start(self, end: int, step: int) -> int:
        """The first of the 48 buckets, of which the last holds the present; aligned to the zone's clock."""
        offset = int(clock.utc_offset(end, self._zone))
        present = (end - 1 + offset) // step * step - offset
        return present - (PEAK_BUCKETS - 1) * step

    # -- processes

    def processes(self, start: int, end: int, sort: str = "cpu", count: int = PROCESS_COUNT) -> dict[str, Any]:
        """Who used the machine during the window: the `count` names with most CPU, or most memory at one moment.

        Shares are of all CPUs. What no listed process used is unattributed: it was used by more processes than are
        listed or kept, or by some that lived and died between two looks.
        """
        _check_window(start, end)
        if sort not in SORTS:
            raise BadParameter(f"sort = {sort!r}: takes one of {', '.join(SORTS)}")
        with self._history.view() as view:
            use = view.use(start, end, sort, count)
        told = _uses(use)
        listed = 100 * sum(name.cpu_seconds for name in use.names) / use.capacity_seconds if use.capacity_seconds else 0
        return {
            **self._window(start, end),
            "covered_seconds": round(use.covered_seconds, 1),
            "cpu_percent": _rounded(use.cpu_percent),
            "unattributed_cpu_percent": None
            if use.cpu_percent is None
            else _rounded(max(0.0, use.cpu_percent - listed)),
            "processes": told,
        }

    # -- insights

    def insights(self) -> dict[str, Any]:
        """What the history shows, in words, numbers and SQL; computed at most once a minute."""
        with self._insights_lock:
            now = clock.steady()
            if self._insights is None or now - self._insights[0] >= MINUTE:
                self._insights = (now, self._find())
            return self._insights[1]

    def _find(self) -> dict[str, Any]:
        end = int(self._clock.now().wall) + 1
        with self._history.view() as view:
            offset = int(clock.utc_offset(end, self._zone))
            found = findings(Asked(view.select, end, self._text, offset))
        return {"insights": [asdict(finding) for finding in found]}

    def forecast_score(self) -> dict[str, Any]:
        """How many of the forecasts that have come due held, of how many made, and the SQL that counts them."""
        with self._history.view() as view:
            (row,) = view.select(SCORE_SQL)
        return {**row, "nominal": forecast.NOMINAL, "sql": SCORE_SQL}

    # -- series

    def series(self, names: Sequence[str], start: int, end: int, points: int = DEFAULT_POINTS) -> dict[str, Any]:
        """Columns for charts: at most `points` evenly spaced buckets that together hold start <= ts < end."""
        _check_window(start, end)
        metrics = [_metric(name) for name in dict.fromkeys(names)]
        with self._history.view() as view:
            step, tier = _step_and_tier(view, start, end, points)
            start, end = start // step * step, -(-end // step) * step
            buckets = view.buckets(start, end, step, metrics, tier.seconds)
        return {
            **self._window(start, end),
            "step": step,
            "source": "hours" if tier is DAYS else tier.name,
            "ts": list(range(start, end, step)),
            "series": {
                metric.name: {
                    "unit": metric.shown_unit,
                    "average": [_rounded(value) for value in buckets.averages(metric.name)],
                    "minimum": buckets.minima(metric.name),
                    "maximum": buckets.maxima(metric.name),
                }
                for metric in metrics
            },
        }

    # -- gaps

    def gaps(self, start: int, end: int) -> dict[str, Any]:
        """The gaps that touch the window, and the one that is open now if nothing is being recorded."""
        _check_window(start, end)
        now = int(self._clock.now().wall)
        with self._history.view() as view:
            found = [(gap.start, gap.end, gap.reason) for gap in view.gaps(start, end)]
            newest = view.newest()
        if newest is not None and now - newest.ts > 2 * newest.interval_seconds and newest.ts < end and now > start:
            reason = self._open_gap_reason if newest.stopped_ts is None else "stopped"
            found.append((newest.ts, now, reason))
        return {
            "gaps": [
                {**self._window(begin, finish), "seconds": finish - begin, "reason": reason}
                for begin, finish, reason in found
            ]
        }

    def oldest(self) -> int | None:
        """Unix seconds at which the history begins; None where nothing is recorded."""
        with self._history.view() as view:
            return view.oldest()

    # -- writing

    def _window(self, start: int, end: int) -> dict[str, str]:
        return {"start": self._text(start), "end": self._text(end)}

    def _text(self, ts: int) -> str:
        return clock.rfc3339(ts, self._zone)


def _current(newest: Newest) -> dict[str, Any]:
    values = newest.values
    loads = [values[name] for name in ("load_1", "load_5", "load_15")]
    return {
        "cpu_percent": _rounded(values["cpu_percent"], 1),
        "memory_percent": _rounded(values["memory_percent"], 1),
        "disk_percent": _rounded(values["disk_percent"], 1),
        "network_io": {"bytes_sent": values["network_sent_bytes"], "bytes_recv": values["network_received_bytes"]},
        "process_count": values["process_count"],
        "load_average": [_rounded(load, 2) for load in loads],
    }


def sort_for(metric: Metric) -> str:
    """By what to tell who made a peak of the metric."""
    return "memory" if metric.name in ("memory_percent", "swap_percent", "memory_pressure") else "cpu"


def _uses(use: Usage) -> list[dict[str, Any]]:
    return [
        {
            "name": name.name,
            "pids": name.pids,
            "cpu_percent": _rounded(100 * name.cpu_seconds / use.capacity_seconds),
            "cpu_seconds": _rounded(name.cpu_seconds),
            "memory_bytes": name.memory_bytes,
        }
        for name in use.names
    ]


def _check_window(start: int, end: int) -> None:
    if end <= start:
        raise BadParameter("start, end: takes a start that is before its end")


def _metric(name: str) -> Metric:
    if name not in BY_NAME:
        raise BadParameter(f"metric = {name!r}: takes one of {', '.join(BY_NAME)}")
    return BY_NAME[name]


def _trend(buckets: Buckets, metric: Metric) -> Trend:
    return _trend_of(tuple(buckets.averages(metric.name)), buckets.step, metric.minimum_change)


# Pure, and its minutes change once a minute while answers are made at each sample.
_trend_of = lru_cache(maxsize=64)(trend)


def _trend_step(window_seconds: int) -> int:
    """A sixtieth of the window, in whole minutes, and in whole hours from a week on."""
    unit = HOUR if window_seconds >= 7 * DAY else MINUTE
    return max(unit, round(window_seconds / TREND_BUCKETS / unit) * unit)


def _peak_step(window_seconds: int) -> int:
    """A 48th of the window, in whole minutes, and in whole hours where hour rows have to serve."""
    unit = HOUR if window_seconds > PEAK_BUCKETS * 6 * HOUR else MINUTE
    return max(unit, round(window_seconds / PEAK_BUCKETS / unit) * unit)


def _step_and_tier(view: View, start: int, end: int, points: int) -> tuple[int, Tier]:
    """The narrowest even bucket that needs no more than `points`, is not finer than what is stored there, and the
    coarsest tier that fills it without loss."""
    progress = view.progress()
    grain = (
        HOUR
        if start < progress.minutes_from
        else MINUTE
        if start < progress.samples_from
        else view.interval(start, end)
    )
    least = max(grain, -(-(end - start) // max(1, points - 1)))
    step = next((step for step in _STEPS if step >= least), -(-least // DAY) * DAY)
    while -(-end // step) - start // step > points:
        step *= 2
    return step, next(tier for tier in (DAYS, HOURS, MINUTES, SAMPLES) if step % tier.seconds == 0)


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
