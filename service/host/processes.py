"""Who uses the host: what its processes used of CPU and memory between two captures.

Only the name that the kernel keeps (comm, proc_pid_stat(5)) is read, never a command line or an environment: psutil's
own `name()` would open the command line of every process whose name is 15 characters or longer.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nlargest
from operator import attrgetter
from typing import NamedTuple

import psutil

from service.records import AllProcesses, NameUsage, ProcessUsage

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# What grows less between two captures is not kept for its growth: at half a minute it takes a day for 3 GB.
_LEAST_GROWTH_BYTES = 2**20
# Of the names so many are kept by CPU time for each process that is: a build runs a dozen programs.
_NAMES_BY_CPU = 2
# In the flags of a process: it is a thread of the kernel (PF_KTHREAD, include/linux/sched.h).
_KERNEL_THREAD = 0x00200000
# More than any stat line has, which the kernel gives whole at the first read.
_STAT_BYTES = 4096


class Seen(NamedTuple):
    """One process at one moment. `program`: changes when it executes another program; None where the kernel does not
    show that. `children_ticks`: the CPU time of all children, and of theirs, that have ended and been waited for."""

    name: str
    started_ticks: int
    cpu_ticks: int
    memory_bytes: int
    program: int | None = None
    parent: int = 0
    children_ticks: int = 0


class _Used(NamedTuple):
    """What one process used since the capture before; of `cpu_ticks` its children that have ended `children_ticks`."""

    pid: int
    name: str
    cpu_ticks: int
    children_ticks: int
    memory_bytes: int
    grown_bytes: int


class ProcessWatch:
    """Captures all processes, adds them up by name, and keeps those that used most."""

    def __init__(self, count: int) -> None:
        """`count`: how many single processes are kept by CPU, how many by memory, and how many by the growth of their
        memory, so that a leak shows long before it is among the largest."""
        self._count = count
        self._before: Mapping[int, Seen] | None = None
        self._owed: Mapping[int, int] = {}

    def capture(self, busy_seconds: float | None = None) -> AllProcesses | None:
        """What was used since the capture before, most CPU first; None the first time.

        `busy_seconds`: what the CPUs gave in that time. Two processes that are read at two moments can make children
        count twice; their part is cut to what fits.

        A process that started since then counts from its start. One that has ended counts with the parent that waited
        for it, and is not seen where none did. One that renames itself, as the kernel's workers do with each task,
        keeps the name under which it was first seen, until it executes another program.
        """
        before = self._before
        now = dict(_all()) if before is None else {pid: _named(seen, before.get(pid)) for pid, seen in _all()}
        self._before = now
        if before is None:
            return None
        reaped, self._owed = reaped_ticks(now, before, self._owed)
        usages = list(_used(now, before, reaped))
        if busy_seconds is not None:
            usages = _fitted(usages, round(busy_seconds * _TICKS_PER_SECOND))
        return self._kept(usages)

    def _kept(self, usages: list[_Used]) -> AllProcesses:
        by_name: dict[str, list[_Used]] = {}
        for usage in usages:
            by_name.setdefault(usage.name, []).append(usage)
        processes = {
            usage.pid: usage
            for usage in (
                *_most(self._count, usages, "cpu_ticks"),
                *_most(self._count, usages, "memory_bytes"),
                *_most(self._count, usages, "grown_bytes", _LEAST_GROWTH_BYTES),
            )
        }
        names = [_name_usage(name, of_name) for name, of_name in by_name.items()]
        by_cpu = nlargest(_NAMES_BY_CPU * self._count, names, lambda usage: usage.cpu_seconds)
        kept = {usage.name for usage in by_cpu if usage.cpu_seconds > 0}
        kept |= {usage.name for usage in nlargest(self._count, names, lambda usage: usage.memory_bytes)}
        kept |= {usage.name for usage in processes.values()}
        return AllProcesses(
            process_count=len(usages),
            memory_bytes=sum(usage.memory_bytes for usage in usages),
            names=sorted(
                (usage for usage in names if usage.name in kept),
                key=lambda usage: (-usage.cpu_seconds, -usage.memory_bytes),
            ),
            processes=sorted(
                map(_process_usage, processes.values()), key=lambda usage: (-usage.cpu_seconds, -usage.memory_bytes)
            ),
        )


def _most(count: int, usages: Iterable[_Used], field: str, least: int = 0) -> list[_Used]:
    """Those with most of it, and more than `least`."""
    measure: Callable[[_Used], int] = attrgetter(field)
    return [usage for usage in nlargest(count, usages, measure) if measure(usage) > least]


def _process_usage(used: _Used) -> ProcessUsage:
    return ProcessUsage(
        used.name,
        used.pid,
        used.cpu_ticks / _TICKS_PER_SECOND,
        used.memory_bytes,
        used.children_ticks / _TICKS_PER_SECOND,
    )


def _name_usage(name: str, usages: list[_Used]) -> NameUsage:
    """All processes of one name together."""
    return NameUsage(
        name=name,
        process_count=len(usages),
        cpu_seconds=sum(usage.cpu_ticks for usage in usages) / _TICKS_PER_SECOND,
        memory_bytes=sum(usage.memory_bytes for usage in usages),
        children_cpu_seconds=sum(usage.children_ticks for usage in usages) / _TICKS_PER_SECOND,
        pid=max(usages, key=lambda usage: (usage.cpu_ticks, usage.memory_bytes)).pid,
    )


def _used(now: Mapping[int, Seen], before: Mapping[int, Seen], reaped: Mapping[int, int]) -> Iterator[_Used]:
    """What each process used that is there now."""
    for pid, seen in now.items():
        then = before.get(pid)
        is_same = then is not None and then.started_ticks == seen.started_ticks
        children = reaped.get(pid, 0)
        cpu = ticks_since(seen, then) + children
        grown = seen.memory_bytes - then.memory_bytes if is_same and then is not None else 0
        yield _Used(pid, seen.name, cpu, children, seen.memory_bytes, grown)


def _fitted(usages: list[_Used], busy_ticks: int) -> list[_Used]:
    """With the parts of children made smaller where all together are more than the CPUs gave."""
    children = sum(usage.children_ticks for usage in usages)
    excess = sum(usage.cpu_ticks for usage in usages) - busy_ticks
    if excess <= 0 or not children:
        return usages
    kept = max(0.0, 1 - excess / children)
    fitted = []
    for usage in usages:
        part = int(usage.children_ticks * kept)
        fitted.append(
            usage._replace(cpu_ticks=usage.cpu_ticks - usage.children_ticks + part, children_ticks=part)
            if usage.children_ticks
            else usage
        )
    return fitted


def _named(seen: Seen, before: Seen | None) -> Seen:
    """By its first name, if it is the same process and known to run the same program."""
    if before is None or seen.name == before.name or seen.started_ticks != before.started_ticks:
        return seen
    is_same = seen.program is not None and seen.program == before.program
    return seen._replace(name=before.name) if is_same else seen


def ticks_since(now: Seen, before: Seen | None) -> int:
    """CPU ticks since the capture before. A pid that was given to another process since then is another process."""
    if before is None or before.started_ticks != now.started_ticks:
        return now.cpu_ticks
    return max(0, now.cpu_ticks - before.cpu_ticks)


# -- children that have ended


def reaped_ticks(
    now: Mapping[int, Seen], before: Mapping[int, Seen], owed: Mapping[int, int]
) -> tuple[dict[int, int], dict[int, int]]:
    """pid -> CPU ticks that children used since the capture before which have ended since then; and what is owed.

    A parent that waits for a child is given all that the child used in its life, and what the child was given for its
    own children. Of that, what earlier captures have counted already, with the child itself, is taken off: from the
    nearest ancestor that is still there, and, as an orphan is waited for by one further up, what is left from those
    above it. `owed`: what could not be taken off, because the child ended while the processes were read; it is taken
    off at the next capture.
    """
    grown = dict(_grown(now, before))
    still_owed: dict[int, int] = {}
    for pid, ticks in owed.items():
        _take(grown, pid, ticks)
    for pid, seen in before.items():
        if _is_there(now, pid, seen):
            continue
        left, nearest = seen.cpu_ticks + seen.children_ticks, None
        for ancestor in _ancestors(seen, now, before):
            nearest = ancestor if nearest is None else nearest
            left = _take(grown, ancestor, left)
            if not left:
                break
        if left and nearest is not None:
            still_owed[nearest] = still_owed.get(nearest, 0) + left
    return grown, still_owed


def _grown(now: Mapping[int, Seen], before: Mapping[int, Seen]) -> Iterator[tuple[int, int]]:
    """Whose ended children have more CPU time than at the capture before, and how much more."""
    for pid, seen in now.items():
        if seen.children_ticks:
            then = before.get(pid)
            counted = then.children_ticks if then is not None and then.started_ticks == seen.started_ticks else 0
            if seen.children_ticks > counted:
                yield pid, seen.children_ticks - counted


def _take(grown: dict[int, int], pid: int, ticks: int) -> int:
    """Take so much off, as far as there is so much.

    :returns: what is left to take.
    """
    taken = min(ticks, grown.get(pid, 0))
    if taken:
        grown[pid] -= taken
    return ticks - taken


def _is_there(now: Mapping[int, Seen], pid: int, seen: Seen) -> bool:
    present = now.get(pid)
    return present is not None and present.started_ticks == seen.started_ticks


def _ancestors(seen: Seen, now: Mapping[int, Seen], before: Mapping[int, Seen]) -> Iterator[int]:
    """The ancestors that are still there, the nearest first."""
    pid, passed = seen.parent, set[int]()
    while pid and pid not in passed:
        passed.add(pid)
        present = before.get(pid)
        if present is None:
            present = now.get(pid)
        if present is None:
            return
        if _is_there(now, pid, present):
            yield pid
            present = now[pid]
        pid = present.parent


# -- reading


def _all() -> Iterator[tuple[int, Seen]]:
    """Every process that can be read; those that vanish or deny meanwhile are left out."""
    for pid in psutil.pids():
        try:
            file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        except OSError:
            continue
        try:
            yield pid, parse_stat(os.read(file, _STAT_BYTES))
        except (OSError, ValueError, IndexError):
            continue
        finally:
            os.close(file)


def parse_stat(stat: bytes) -> Seen:
    """The name stands in parentheses and may hold any byte, parentheses too; the fields after it count from 3.

    The start of the stack (28) is drawn by lot at each exec; it is 0 for other accounts' processes, and for threads of
    the kernel, which execute nothing.
    """
    begin, end = stat.index(b"("), stat.rindex(b")")
    fields = stat[end + 2 :].split(None, 26)
    stack = int(fields[25])
    return Seen(
        name=stat[begin + 1 : end].decode("utf-8", "replace"),
        started_ticks=int(fields[19]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
        program=stack if stack or int(fields[6]) & _KERNEL_THREAD else None,
        parent=int(fields[1]),
        children_ticks=max(0, int(fields[13])) + max(0, int(fields[14])),
    )
