"""Processes: who used the machine in a window, by name, and the SQL that gives the same shares."""

from typing import Literal, get_args

from service.answers.answer import Answer, check_window, rounded
from service.answers.moments import Moment
from service.errors import BadParameter
from service.metrics import Metric
from service.store.captures import Usage, shares_sql
from service.store.reader import View

Sort = Literal["cpu", "memory"]
SORTS: tuple[str, ...] = get_args(Sort)
DEFAULT_COUNT = 10
MOST_PROCESSES = 100


class ProcessShare(Answer, frozen=True):
    """The processes of one name: their share of the whole machine, and the most memory they held at one moment."""

    name: str
    pids: list[int]
    cpu_percent: float
    cpu_seconds: float
    memory_bytes: int


class Processes(Answer, frozen=True):
    """start <= t < end. `cpu_percent` is the host's own figure over the same captures; what no listed process used is
    unattributed, so that the parts add up."""

    start: Moment
    end: Moment
    covered_seconds: float
    cpu_percent: float | None
    unattributed_cpu_percent: float | None
    processes: list[ProcessShare]
    sql: str


def processes(view: View, start: int, end: int, sort: str, count: int) -> Processes:
    """The `count` names with most CPU, or most memory at one moment.

    :raises BadParameter: if the window is empty or `sort` unknown.
    """
    check_window(start, end)
    if sort not in SORTS:
        raise BadParameter(f"sort = {sort!r}: takes one of {', '.join(SORTS)}")
    usage = view.usage(start, end, sort, count)
    return Processes(
        start=Moment(start),
        end=Moment(end),
        covered_seconds=round(usage.covered_seconds, 1),
        cpu_percent=rounded(usage.cpu_percent),
        unattributed_cpu_percent=_unattributed(usage),
        processes=shares(usage),
        sql=shares_sql(start, end),
    )


def _unattributed(usage: Usage) -> float | None:
    """Used by more processes than are listed or kept, or by some that lived and died between two captures."""
    if usage.cpu_percent is None:
        return None
    listed = sum(name.cpu_seconds for name in usage.names)
    share = 100 * listed / usage.capacity_seconds if usage.capacity_seconds else 0.0
    return rounded(max(0.0, usage.cpu_percent - share))


def shares(usage: Usage) -> list[ProcessShare]:
    """Of all CPUs (100 is the whole machine), in the order in which the names come."""
    return [
        ProcessShare(
            name=name.name,
            pids=name.pids,
            cpu_percent=rounded(100 * name.cpu_seconds / usage.capacity_seconds),
            cpu_seconds=rounded(name.cpu_seconds),
            memory_bytes=name.memory_bytes,
        )
        for name in usage.names
    ]


def sort_for(metric: Metric) -> Sort:
    """Whether who made a peak of the metric is a question of memory or of CPU."""
    return "memory" if metric.name in ("memory_percent", "swap_percent", "memory_pressure") else "cpu"
