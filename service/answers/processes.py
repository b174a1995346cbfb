"""Processes: who used the machine in a window, by name or by service, and the SQL that gives the same shares."""

from typing import get_args

from service.answers.answer import Answer, check_window, rounded
from service.answers.moments import Moment
from service.errors import BadParameter
from service.metrics import Metric
from service.store.reader import View
from service.store.usages import By, Key, Usage, shares_sql

SORTS: tuple[str, ...] = get_args(Key)
BYS: tuple[str, ...] = get_args(By)
DEFAULT_COUNT = 10
MOST_PROCESSES = 100


class ProcessShare(Answer, frozen=True):
    """The processes of one name, or one service: their share of the whole machine, of that the part that children used
    which lived and died between two captures, and the most memory and processes at one moment.

    Memory of a name is a sum in which what its processes share counts with each; of a service it is the kernel's own
    figure. What is not known is None: the processes of a service; memory where its controller is off; children and
    numbers in captures of before revision 0004, which did not keep them.
    """

    name: str
    pids: list[int]
    process_count: int | None
    cpu_percent: float
    children_cpu_percent: float | None
    cpu_seconds: float
    memory_bytes: int | None


class Processes(Answer, frozen=True):
    """start <= t < end. `cpu_percent` is the host's own figure over the same captures; what no listed process used is
    unattributed, so that the parts add up."""

    start: Moment
    end: Moment
    by: By
    covered_seconds: float
    cpu_percent: float | None
    unattributed_cpu_percent: float | None
    processes: list[ProcessShare]
    sql: str


def processes(view: View, start: int, end: int, sort: str, count: int, by: str = "name") -> Processes:
    """The `count` names or services with most CPU, or most memory at one moment.

    :raises BadParameter: if the window is empty, or `sort` or `by` unknown.
    """
    check_window(start, end)
    key, users = sort_named(sort), by_named(by)
    usage = view.usage(start, end, key, count, users)
    return Processes(
        start=Moment(start),
        end=Moment(end),
        by=users,
        covered_seconds=round(usage.covered_seconds, 1),
        cpu_percent=rounded(usage.cpu_percent),
        unattributed_cpu_percent=_unattributed(usage),
        processes=shares(usage),
        sql=shares_sql(start, end, users),
    )


def sort_named(sort: str) -> Key:
    """
    :raises BadParameter: if it is neither `cpu` nor `memory`.
    """
    if sort not in SORTS:
        raise BadParameter(f"sort = {sort!r}: takes one of {', '.join(SORTS)}")
    return "memory" if sort == "memory" else "cpu"


def by_named(by: str) -> By:
    """
    :raises BadParameter: if it is neither `name` nor `service`.
    """
    if by not in BYS:
        raise BadParameter(f"by = {by!r}: takes one of {', '.join(BYS)}")
    return "service" if by == "service" else "name"


def _unattributed(usage: Usage) -> float | None:
    """Used by more processes than are listed or kept, or by some of which no capture knows."""
    if usage.cpu_percent is None:
        return None
    listed = sum(user.cpu_seconds for user in usage.users)
    share = 100 * listed / usage.capacity_seconds if usage.capacity_seconds else 0.0
    return rounded(max(0.0, usage.cpu_percent - share))


def shares(usage: Usage) -> list[ProcessShare]:
    """Of all CPUs (100 is the whole machine), in the order in which the users come."""
    whole = usage.capacity_seconds
    return [
        ProcessShare(
            name=user.name,
            pids=user.pids,
            process_count=user.process_count,
            cpu_percent=rounded(100 * user.cpu_seconds / whole),
            children_cpu_percent=(
                None if user.children_cpu_seconds is None else rounded(100 * user.children_cpu_seconds / whole)
            ),
            cpu_seconds=rounded(user.cpu_seconds),
            memory_bytes=user.memory_bytes,
        )
        for user in usage.users
    ]


def sort_for(metric: Metric) -> Key:
    """Whether who made a peak of the metric is a question of memory or of CPU."""
    return "memory" if metric.name in ("memory_percent", "swap_percent", "memory_pressure") else "cpu"
