"""Status: how the host is now and was in the last hour, for the terminal; all of it from one view of the history."""

from dataclasses import dataclass

from service.analysis.trend import TrendWord
from service.answers.moments import TimeOfDay
from service.answers.peaks import DEFAULT_COUNT, PeakBuckets
from service.answers.processes import Processes, processes
from service.answers.series import Series, series
from service.answers.trends import UsualShifts, last_hour
from service.answers.usage import newest_of
from service.clock import HOUR
from service.metrics import BY_NAME, HEADLINES
from service.store.reader import Newest, View

# One point a minute of the last hour, and that which has begun.
HOUR_POINTS = 61
# Who uses most now: captures are half a minute apart.
LATELY_SECONDS = 300
LISTED_PROCESSES = 3


@dataclass(frozen=True, slots=True)
class Status:
    """The newest sample, the hour before it, and who used most of late."""

    newest: Newest
    hour: Series
    words: dict[str, TrendWord]
    peak_times: list[TimeOfDay]
    processes: Processes


def status(
    view: View, peak_buckets: PeakBuckets, usual: UsualShifts, peak_window: int, listed: int = LISTED_PROCESSES
) -> Status:
    """`listed`: how many names of processes.

    :raises HistoryUnreadable: if nothing is stored yet.
    """
    newest = newest_of(view)
    end = newest.ts + 1
    peaks = peak_buckets.standing_out(view, BY_NAME["cpu_percent"], peak_window, DEFAULT_COUNT, end)
    return Status(
        newest=newest,
        hour=series(view, [metric.name for metric in HEADLINES], end - HOUR, end, HOUR_POINTS),
        words={name: trend.word for name, trend in last_hour(view, usual, end, HEADLINES).items()},
        peak_times=[TimeOfDay(bucket.start) for bucket in peaks],
        processes=processes(view, end - LATELY_SECONDS, end, "cpu", listed),
    )
