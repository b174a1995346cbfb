"""Who uses the host: what its processes used of CPU and memory between two captures.

Only the name that the kernel keeps (comm, proc_pid_stat(5)) is read, never a command line or an environment: psutil's
own `name()` would open the command line of every process whose name is 15 characters or longer.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import nlargest

import psutil

from service.records import ProcessUsage

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# What grows less between two captures is not kept for its growth: at half a minute it takes a day for 3 GB.
_LEAST_GROWTH_BYTES = 2**20


# In the flags of a process: it is a thread of the kernel (PF_KTHREAD, include/linux/sched.h).
_KERNEL_THREAD = 0x00200000


@dataclass(frozen=True, slots=True)
class Seen:
    """`program`: changes when the process executes another program; None where the kernel does not show that."""

    name: str
    started_ticks: int
    cpu_ticks: int
    memory_bytes: int
    program: int | None = None


class ProcessWatch:
    """Captures all processes and keeps the few that used most."""

    def __init__(self, count: int) -> None:
        """`count`: how many are kept by CPU, how many by memory, and how many by the growth of their memory, so that a
        leak shows long before it is among the largest."""
        self._count = count
        self._before: dict[int, Seen] | None = None

    def capture(self) -> list[ProcessUsage] | None:
        """Those that used most since the capture before, most CPU first; None the first time.

        A process that started since then counts from its start. One that has ended is not seen, and what it used is not
        guessed. One that renames itself, as the kernel's workers do with each task, keeps the name under which it was
        first seen, until it executes another program.
        """
        before = self._before
        now = dict(_all()) if before is None else {pid: _named(seen, before.get(pid)) for pid, seen in _all()}
        self._before = now
        if before is None:
            return None
        usages = [
            ProcessUsage(seen.name, pid, ticks_since(seen, before.get(pid)) / _TICKS_PER_SECOND, seen.memory_bytes)
            for pid, seen in now.items()
        ]
        grown = {pid: seen.memory_bytes - then.memory_bytes for pid, seen, then in _both(now, before)}
        kept = [
            *self._most(usages, lambda usage: usage.cpu_seconds),
            *self._most(usages, lambda usage: usage.memory_bytes),
            *self._most(usages, lambda usage: grown.get(usage.pid, 0), _LEAST_GROWTH_BYTES),
        ]
        by_pid = {usage.pid: usage for usage in kept}
        return sorted(by_pid.values(), key=lambda usage: (-usage.cpu_seconds, -usage.memory_bytes))

    def _most(
        self, usages: list[ProcessUsage], measure: Callable[[ProcessUsage], float], least: float = 0
    ) -> list[ProcessUsage]:
        """Those with most of it, and more than `least`."""
        return [usage for usage in nlargest(self._count, usages, measure) if measure(usage) > least]


def _both(now: dict[int, Seen], before: dict[int, Seen]) -> Iterator[tuple[int, Seen, Seen]]:
    """The processes that are in both captures."""
    for pid, seen in now.items():
        then = before.get(pid)
        if then is not None and then.started_ticks == seen.started_ticks:
            yield pid, seen, then


def _named(seen: Seen, before: Seen | None) -> Seen:
    """By its first name, if it is the same process and known to run the same program."""
    if before is None or seen.name == before.name or seen.started_ticks != before.started_ticks:
        return seen
    is_same = seen.program is not None and seen.program == before.program
    return replace(seen, name=before.name) if is_same else seen


def ticks_since(now: Seen, before: Seen | None) -> int:
    """CPU ticks since the capture before. A pid that was given to another process since then is another process."""
    if before is None or before.started_ticks != now.started_ticks:
        return now.cpu_ticks
    return max(0, now.cpu_ticks - before.cpu_ticks)


def _all() -> Iterator[tuple[int, Seen]]:
    """Every process that can be read; those that vanish or deny meanwhile are left out."""
    for pid in psutil.pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                yield pid, parse_stat(file.read())
        except (OSError, ValueError, IndexError):
            continue


def parse_stat(stat: bytes) -> Seen:
    """The name stands in parentheses and may hold any byte, parentheses too; the fields after it count from 3.

    The start of the stack (28) is drawn by lot at each exec; it is 0 for other accounts' processes, and for threads of
    the kernel, which execute nothing.
    """
    begin, end = stat.index(b"("), stat.rindex(b")")
    fields = stat[end + 2 :].split()
    name = stat[begin + 1 : end].decode("utf-8", "replace")
    stack = int(fields[25])
    program = stack if stack or int(fields[6]) & _KERNEL_THREAD else None
    return Seen(name, int(fields[19]), int(fields[11]) + int(fields[12]), int(fields[21]) * _PAGE_BYTES, program)
