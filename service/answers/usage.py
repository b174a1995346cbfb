"""Usage: what /api/process/resource-usage says of one stored sample and of the history up to it."""

from typing import Annotated

from msgspec import Meta

from service.analysis.trend import TrendWord
from service.answers import peaks, trends
from service.answers.answer import Answer, rounded
from service.answers.moments import Moment, TimeOfDay
from service.answers.resolution import resolution
from service.clock import HOUR
from service.errors import HistoryUnreadable
from service.metrics import BY_NAME
from service.store.reader import Newest, View


class NetworkIo(Answer, frozen=True):
    """Bytes since boot, all interfaces."""

    bytes_sent: int | None
    bytes_recv: int | None


class CurrentUsage(Answer, frozen=True):
    """The newest sample; None for what could not be read."""

    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None
    network_io: NetworkIo
    process_count: int | None
    load_average: Annotated[list[float | None], Meta(min_length=3, max_length=3)]


class UsageTrends(Answer, frozen=True):
    """From the stored history up to the newest sample."""

    cpu_trend: TrendWord
    memory_trend: TrendWord
    disk_trend: TrendWord
    peak_usage_times: Annotated[list[TimeOfDay], Meta(max_length=peaks.DEFAULT_COUNT)]
    average_cpu_last_hour: float | None
    average_memory_last_hour: float | None


class ResourceUsage(Answer, frozen=True):
    """All of one moment: that of the newest sample."""

    success: bool
    current_usage: CurrentUsage
    usage_trends: UsageTrends
    timestamp: Moment


def resource_usage(
    view: View, peak_buckets: peaks.PeakBuckets, usual: trends.UsualShifts, peak_window: int
) -> ResourceUsage:
    """
    :raises HistoryUnreadable: if nothing is stored yet.
    """
    newest = newest_of(view)
    return ResourceUsage(
        success=True,
        current_usage=_current(newest),
        usage_trends=_trends(view, peak_buckets, usual, peak_window, newest.ts + 1),
        timestamp=Moment(newest.ts),
    )


def newest_of(view: View) -> Newest:
    """The newest sample, whole.

    :raises HistoryUnreadable: if nothing is stored yet.
    """
    newest = view.newest()
    if newest is None:
        raise HistoryUnreadable("no sample has been stored yet")
    return newest


def _current(newest: Newest) -> CurrentUsage:
    values = newest.values
    return CurrentUsage(
        cpu_percent=rounded(values["cpu_percent"], 1),
        memory_percent=rounded(values["memory_percent"], 1),
        disk_percent=rounded(values["disk_percent"], 1),
        network_io=NetworkIo(
            bytes_sent=_whole(values["network_sent_bytes"]), bytes_recv=_whole(values["network_received_bytes"])
        ),
        process_count=_whole(values["process_count"]),
        load_average=[rounded(values[name], 2) for name in ("load_1", "load_5", "load_15")],
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _trends(
    view: View, peak_buckets: peaks.PeakBuckets, usual: trends.UsualShifts, peak_window: int, end: int
) -> UsageTrends:
    cpu, memory, disk = (BY_NAME[name] for name in ("cpu_percent", "memory_percent", "disk_percent"))
    whole = resolution("whole", HOUR)
    hour = view.buckets(end - HOUR, end, whole.step, [cpu, memory], whole.tier.seconds)
    found = trends.last_hour(view, usual, end, [cpu, memory, disk])
    standing_out = peak_buckets.standing_out(view, cpu, peak_window, peaks.DEFAULT_COUNT, end)
    return UsageTrends(
        cpu_trend=found["cpu_percent"].word,
        memory_trend=found["memory_percent"].word,
        disk_trend=found["disk_percent"].word,
        peak_usage_times=[TimeOfDay(bucket.start) for bucket in standing_out],
        average_cpu_last_hour=rounded(hour.averages("cpu_percent")[0], 1),
        average_memory_last_hour=rounded(hour.averages("memory_percent")[0], 1),
    )
