"""ResourceMonitor: the facade that web and command line ask; keeps answers while nothing new has been stored."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from service import clock
from service.answers.answer import metric_named
from service.answers.calendar import Calendar, calendar
from service.answers.changes import Changes, changes
from service.answers.device_series import device_series
from service.answers.devices import Devices, devices
from service.answers.events import Events, events
from service.answers.forecasts import ForecastScore, forecast_score
from service.answers.gaps import Gaps, gaps
from service.answers.host import Host, host
from service.answers.insights.found import Insights, insights
from service.answers.insights.rules import Asked
from service.answers.metrics import MetricList, metrics
from service.answers.moments import Write, writer
from service.answers.peaks import DEFAULT_COUNT as PEAK_COUNT
from service.answers.peaks import DEFAULT_SECONDS as PEAK_SECONDS
from service.answers.peaks import Course, PeakBuckets, Peaks, peaks
from service.answers.processes import DEFAULT_COUNT as PROCESS_COUNT
from service.answers.processes import Processes, processes
from service.answers.replay import Replay
from service.answers.rows import SECONDS as SQL_SECONDS
from service.answers.rows import Rows, rows
from service.answers.series import DEFAULT_POINTS, Series, series
from service.answers.spans import spans
from service.answers.status import LISTED_PROCESSES, Status, status
from service.answers.summary import DEFAULT_SECONDS as SUMMARY_SECONDS
from service.answers.summary import Summary, summary
from service.answers.trends import UsualShifts
from service.answers.usage import ResourceUsage, newest_of, resource_usage
from service.answers.who import DEFAULT_POINTS as WHO_POINTS
from service.answers.who import DEFAULT_TOP, Who, who
from service.clock import MINUTE, Clock
from service.config import Settings
from service.host.machine import machine
from service.records import Reason
from service.store.reader import History, Newest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest sample and the endpoint's answer after it was stored; `taken_at` is the steady clock then."""

    version: int
    taken_at: float
    newest: Newest
    usage: ResourceUsage


class ResourceMonitor:
    """Answers from one history. Any thread may ask."""

    def __init__(
        self,
        history: History,
        settings: Settings,
        clock_: Clock,
        version: Callable[[], int] = lambda: 0,
        open_gap_reason: Reason = "killed",
    ) -> None:
        """`version`: changes whenever a sample has been stored; until then an answer is kept. `open_gap_reason`: why
        nothing is recorded now, where the newest sample is old and its run was not stopped cleanly."""
        self._history, self._clock, self._version = history, clock_, version
        self._open_gap_reason = open_gap_reason
        self._peak_window = int(settings.analysis.peak_window)
        self.zone = clock.zone(settings.analysis.timezone)
        self._interval = settings.sampling.interval
        self._name = settings.server.name
        # One begins what the next is of, and that is stored with the sample after it.
        self._first_capture_seconds = 2 * settings.sampling.processes_interval + self._interval
        self._peak_buckets = PeakBuckets(self._offset)
        self._usual = UsualShifts()
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()
        self._insights: tuple[float, Insights] | None = None
        self._insights_lock = threading.Lock()
        # How moments of its answers are written as text.
        self.write: Write = writer(self.zone)

    # -- /api/process/resource-usage

    def get_current_usage(self, snapshot: Snapshot | None = None) -> dict[str, Any]:
        """The newest sample in the words of the contract, or that of a snapshot."""
        return self._plain((snapshot or self.snapshot()).usage.current_usage)

    def get_usage_trends(self, snapshot: Snapshot | None = None) -> dict[str, Any]:
        """Averages, trend words and peak times of the stored history up to the newest sample, or that of a snapshot."""
        return self._plain((snapshot or self.snapshot()).usage.usage_trends)

    def _plain(self, answer: object) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(answer, enc_hook=self.write)
        return plain

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
                with self._history.view() as view:
                    usage = resource_usage(view, self._peak_buckets, self._usual, self._peak_window)
                    kept = self._snapshot = Snapshot(version, now, newest_of(view), usage)
            return kept

    def newest(self) -> Newest:
        """The newest sample, whole.

        :raises HistoryUnreadable: if the history cannot be read or is empty.
        """
        with self._history.view() as view:
            return newest_of(view)

    def status(self, listed: int = LISTED_PROCESSES) -> Status:
        """`listed`: how many names of processes.

        :raises HistoryUnreadable: if the history cannot be read or is empty.
        """
        with self._history.view() as view:
            return status(view, self._peak_buckets, self._usual, self._peak_window, listed)

    # -- the v1 API

    def summary(self, window_seconds: int = SUMMARY_SECONDS, end: int | None = None) -> Summary:
        """`end`: unix seconds, not included; None: now."""
        with self._history.view() as view:
            return summary(view, self._usual, self._end() if end is None else end, window_seconds)

    def peaks(
        self,
        metric: str = "cpu_percent",
        window_seconds: int = PEAK_SECONDS,
        count: int = PEAK_COUNT,
        end: int | None = None,
    ) -> Peaks:
        """`end`: unix seconds, not included; None: now."""
        whole, end = end is not None, self._end() if end is None else end
        with self._history.view() as view:
            return peaks(view, self._peak_buckets, metric, window_seconds, count, end, whole)

    def peaks_and_course(
        self,
        metric: str = "cpu_percent",
        window_seconds: int = PEAK_SECONDS,
        count: int = PEAK_COUNT,
        end: int | None = None,
    ) -> tuple[Peaks, Course]:
        """The same, with the buckets among which they stand out."""
        whole, end = end is not None, self._end() if end is None else end
        with self._history.view() as view:
            course = self._peak_buckets.course(view, metric_named(metric), window_seconds, end, whole)
            return peaks(view, self._peak_buckets, metric, window_seconds, count, end, whole), course

    def processes(
        self, start: int, end: int, sort: str = "cpu", count: int = PROCESS_COUNT, by: str = "name"
    ) -> Processes:
        with self._history.view() as view:
            return processes(view, start, end, sort, count, by)

    def who(
        self,
        start: int,
        end: int,
        points: int = WHO_POINTS,
        by: str = "name",
        metric: str = "cpu",
        top: int = DEFAULT_TOP,
    ) -> Who:
        with self._history.view() as view:
            return who(view, start, end, points, by, metric, top)

    def series(
        self, names: Sequence[str], start: int, end: int, points: int = DEFAULT_POINTS, device: str | None = None
    ) -> Series:
        """`device`: `disk:sda` and the like, whose metrics are meant then, all where none is named."""
        with self._history.view() as view:
            if device is not None:
                return device_series(view, device, names, start, end, points)
            return series(view, names, start, end, points)

    def devices(self) -> Devices:
        with self._history.view() as view:
            return devices(view)

    def gaps(self, start: int, end: int) -> Gaps:
        with self._history.view() as view:
            return gaps(view, start, end, int(self._clock.now().wall), self._open_gap_reason)

    def replay(self) -> Replay:
        """To walk through the history."""
        return Replay(self._history.view, lambda: int(self._clock.now().wall), self._open_gap_reason)

    def changes(self, start: int, end: int, against: int | None = None) -> Changes:
        """`against`: how many seconds before; None: an hour, or where the window is longer, its length."""
        asked = spans(start, end, against)
        with self._history.view() as view:
            return changes(view, asked)

    def calendar(self, metric: str) -> Calendar:
        with self._history.view() as view:
            return calendar(view, metric, int(self._clock.now().wall), self.zone)

    def events(self, start: int, end: int) -> Events:
        waiting = self._history.waiting_notes()
        with self._history.view() as view:
            return events(view, start, end, waiting)

    def metrics(self) -> MetricList:
        return metrics()

    def rows(self, statement: str) -> Rows:
        """
        :raises QueryRefused: if it is wrong, would write, takes too long or too much.
        """
        return rows(self._history.ask_apart(statement, SQL_SECONDS))

    def host(self) -> Host:
        return host(machine(), self._name, self.oldest(), self._first_capture_seconds)

    def insights(self) -> Insights:
        """Computed at most once a minute."""
        with self._insights_lock:
            now = clock.steady()
            if self._insights is None or now - self._insights[0] >= MINUTE:
                self._insights = (now, self._find())
            return self._insights[1]

    def _find(self) -> Insights:
        end = self._end()
        with self._history.view() as view:
            return insights(Asked(view.select, end, self._text, self._offset), view.oldest())

    def forecast_score(self) -> ForecastScore:
        with self._history.view() as view:
            return forecast_score(view)

    def oldest(self) -> int | None:
        """Unix seconds at which the history begins; None where nothing is recorded."""
        with self._history.view() as view:
            return view.oldest()

    # -- time

    def _end(self) -> int:
        """Of a window that ends now: the present second lies in it."""
        return int(self._clock.now().wall) + 1

    def _offset(self, ts: int) -> int:
        return int(clock.utc_offset(ts, self.zone))

    def _text(self, ts: int) -> str:
        return clock.rfc3339(ts, self.zone)
