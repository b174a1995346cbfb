"""The tools: each is what it takes, what it says of itself, and which answer it gives. TOOLS lists them all."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from service.answers.monitor import ResourceMonitor
from service.answers.peaks import DEFAULT_COUNT as PEAK_COUNT
from service.answers.peaks import DEFAULT_SECONDS as PEAK_SECONDS
from service.answers.processes import DEFAULT_COUNT as PROCESS_COUNT
from service.answers.processes import MOST_PROCESSES
from service.answers.rows import MOST_LETTERS
from service.answers.summary import DEFAULT_SECONDS as SUMMARY_SECONDS
from service.answers.who import DEFAULT_TOP, MOST_TOP
from service.assistant.parameters import Between, ByOption, KeyOption, Length, Metric, Parameters
from service.clock import DAY, HOUR
from service.store.apart import MOST_ROWS
from service.store.schema import views

# An assistant reads each number; a chart would have several hundred points.
_POINTS, _MOST_POINTS = 24, 500
_ROWS = 100
_WEEK = 7 * DAY

Points = Annotated[int, Meta(ge=1, le=_MOST_POINTS, description="At most so many buckets of time.")]


class HostTool(Parameters, frozen=True):
    says: ClassVar[str] = (
        "Which machine this is: name, CPUs, memory, kernel, when it booted, and since when it is recorded."
    )

    def ask(self, monitor: ResourceMonitor, now: float) -> object:  # noqa: ARG002
        return monitor.host()


class StatusTool(Parameters, frozen=True):
    says: ClassVar[str] = (
        "How the host is now, and the trends of the last hour. `timestamp` is when the newest sample was taken: where "
        "that is long ago, nothing is recorded now, and `gaps` says why."
    )

    def ask(self, monitor: ResourceMonitor, now: float) -> object:  # noqa: ARG002
        return monitor.snapshot().usage


class SummaryTool(Length, frozen=True):
    length: ClassVar[int] = SUMMARY_SECONDS
    says: ClassVar[str] = (
        "Average, extremes with their time, 95th percentile and trend of every metric over a window; the last hour, if "
        "none is given. `coverage` is the recorded share of the window, 0 to 1."
    )

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        asked = self.asked_window(now, monitor.zone)
        return monitor.summary(asked.seconds, asked.end)


class PeaksTool(Length, frozen=True):
    length: ClassVar[int] = PEAK_SECONDS
    says: ClassVar[str] = (
        "When a metric stood out, in time order, and which processes and services used most then; over the last 24 "
        "hours, if no window is given."
    )
    metric: Metric = "cpu_percent"
    count: Annotated[int, Meta(ge=1, le=20, description="At most so many peaks.")] = PEAK_COUNT

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        asked = self.asked_window(now, monitor.zone)
        return monitor.peaks(self.metric, asked.seconds, self.count, asked.end)


class ProcessesTool(Between, frozen=True):
    length: ClassVar[int] = HOUR
    says: ClassVar[str] = (
        "Who used the machine in a window, most first: shares of all CPUs, CPU seconds, the most memory at one moment; "
        "the last hour, if no window is given. `sql` in the answer proves it. Start here for 'what was it at 3:12?'."
    )
    by: ByOption = "name"
    sort: KeyOption = "cpu"
    count: Annotated[int, Meta(ge=1, le=MOST_PROCESSES, description="At most so many.")] = PROCESS_COUNT

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        return monitor.processes(*self.edges(now, monitor.zone), self.sort, self.count, self.by)


class WhoTool(Between, frozen=True):
    length: ClassVar[int] = DAY
    says: ClassVar[str] = (
        "Who used the machine over time: a column for each of the names or services that used most, all `other`, and "
        "what is `unattributed`; together they are `total`. The last 24 hours, if no window is given. `ts` are the "
        "buckets' beginnings in unix seconds."
    )
    by: ByOption = "name"
    metric: KeyOption = "cpu"
    top: Annotated[int, Meta(ge=1, le=MOST_TOP, description="So many have a column of their own.")] = DEFAULT_TOP
    points: Points = _POINTS

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        return monitor.who(*self.edges(now, monitor.zone), self.points, self.by, self.metric, self.top)


class SeriesTool(Between, frozen=True, kw_only=True):
    length: ClassVar[int] = HOUR
    says: ClassVar[str] = (
        "Metrics over time, in evenly spaced buckets: average, minimum and maximum; counters as rates in bytes per "
        "second; null where nothing was recorded. The last hour, if no window is given."
    )
    metrics: Annotated[list[Metric], Meta(min_length=1, description="One or more metrics.")]
    points: Points = _POINTS

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        return monitor.series(self.metrics, *self.edges(now, monitor.zone), self.points)


class ChangesTool(Between, frozen=True):
    length: ClassVar[int] = HOUR
    says: ClassVar[str] = (
        "What moved most between a window and one before it, beyond its usual variation: metrics, programs, "
        "services, devices; most unusual first, each with its SQL. Empty where nothing did; `abstains` says why it "
        "cannot tell. The last hour against the hour before, if no window is given."
    )
    against: Annotated[
        int, Meta(ge=0, description="How many seconds before it is the other; 0: an hour, or as long as the window.")
    ] = 0

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        return monitor.changes(*self.edges(now, monitor.zone), self.against or None)


class EventsTool(Between, frozen=True):
    length: ClassVar[int] = _WEEK
    says: ClassVar[str] = (
        "What happened to the host and to the recording, in time order: boots, starts and stops, suspends, clock "
        "steps, processes killed because memory was short; the last 7 days, if no window is given."
    )

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        return monitor.events(*self.edges(now, monitor.zone))


class GapsTool(Between, frozen=True):
    length: ClassVar[int] = _WEEK
    says: ClassVar[str] = (
        "When nothing was recorded, and why, the gap that is open now included; the last 7 days, if no window is "
        "given. Of such times nothing is known: it is not that nothing was used."
    )

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        return monitor.gaps(*self.edges(now, monitor.zone))


class InsightsTool(Parameters, frozen=True):
    says: ClassVar[str] = (
        "What the whole history shows that the owner should know: file systems that will be full and when, memory that "
        "only grows, saturated CPUs and by whom, and so on; each with its numbers and the SQL that proves it."
    )

    def ask(self, monitor: ResourceMonitor, now: float) -> object:  # noqa: ARG002
        return monitor.insights()


class SqlTool(Parameters, frozen=True):
    says: ClassVar[str] = (
        "One read-only SELECT of SQLite on the history, for at most 5 seconds. `ts` is unix seconds in UTC: filter on "
        f"it. Views: {', '.join(views())}; `PRAGMA table_info(VIEW)` lists the columns of one, and the resource "
        "tidemark://docs/sql.md explains all, with examples. `is_cut` where there are more rows."
    )
    query: Annotated[str, Meta(min_length=1, max_length=MOST_LETTERS, description="One SELECT.")]
    count: Annotated[int, Meta(ge=1, le=MOST_ROWS, description="At most so many rows.")] = _ROWS

    def ask(self, monitor: ResourceMonitor, now: float) -> object:  # noqa: ARG002
        found = monitor.rows(self.query)
        if len(found.rows) <= self.count:
            return found
        return msgspec.structs.replace(found, rows=found.rows[: self.count], is_cut=True)


# In the order in which an assistant reads them.
TOOLS: dict[str, type[Parameters]] = {
    "host": HostTool,
    "status": StatusTool,
    "insights": InsightsTool,
    "processes": ProcessesTool,
    "who": WhoTool,
    "peaks": PeaksTool,
    "changes": ChangesTool,
    "events": EventsTool,
    "gaps": GapsTool,
    "summary": SummaryTool,
    "series": SeriesTool,
    "sql": SqlTool,
}
