"""Who uses the host: CPU time and memory of its processes, from two looks; beside host.py reads psutil and /proc.

Only the name that the kernel keeps (comm, proc_pid_stat(5)) is read, never a command line or an environment: psutil's
own `name()` would open the command line of every process whose name is 15 characters or longer.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import nlargest

import psutil

from service.records import ProcessUsage

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# What grows less from look to look is not kept for its growth: at half a minute it takes a day for 3 GB.
_LEAST_GROWTH_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Seen:
    name: str
    started_ticks: int
    cpu_ticks: int
    memory_bytes: int


class ProcessWatch:
    """Looks at all processes and keeps the few that used most."""

    def __init__(self, count: int) -> None:
        """`count`: how many are kept by CPU, how many by memory, and how many by the growth of their memory: what leaks
        is to be seen long before it is among the largest."""
        self._count = count
        self._before: dict[int, _Seen] | None = None

    def look(self) -> list[ProcessUsage] | None:
        """The greatest users since the last look, most CPU first; None at the first look.

        A process that started since the last look counts from its start. One that ended is not seen, and its use is
        not guessed.
        """
        now = dict(_all())
        before, self._before = self._before, now
        if before is None:
            return None
        uses = [
            ProcessUsage(seen.name, pid, _used(seen, before.get(pid)) / _TICKS_PER_SECOND, seen.memory_bytes)
            for pid, seen in now.items()
        ]
        grown = {pid: seen.memory_bytes - then.memory_bytes for pid, seen, then in _both(now, before)}
        kept = [
            *self._most(uses, lambda use: use.cpu_seconds),
            *self._most(uses, lambda use: use.memory_bytes),
            *self._most(uses, lambda use: grown.get(use.pid, 0), _LEAST_GROWTH_BYTES),
        ]
        return sorted({use.pid: use for use in kept}.values(), key=lambda use: (-use.cpu_seconds, -use.memory_bytes))

    def _most(
        self, uses: list[ProcessUsage], measure: Callable[[ProcessUsage], float], least: float = 0
    ) -> list[ProcessUsage]:
        """Those with most of it, and more than `least`."""
        return [use for use in nlargest(self._count, uses, measure) if measure(use) > least]


def _both(now: dict[int, _Seen], before: dict[int, _Seen]) -> Iterator[tuple[int, _Seen, _Seen]]:
    """The processes that were there at both looks."""
    for pid, seen in now.items():
        then = before.get(pid)
        if then is not None and then.started_ticks == seen.started_ticks:
            yield pid, seen, then


def _used(now: _Seen, before: _Seen | None) -> int:
    """CPU ticks since the last look. A pid that was given to another process since is another process."""
    if before is None or before.started_ticks != now.started_ticks:
        return now.cpu_ticks
    return max(0, now.cpu_ticks - before.cpu_ticks)


def _all() -> Iterator[tuple[int, _Seen]]:
    """Every process that can be read; those that vanish or deny meanwhile are left out."""
    for pid in psutil.pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                yield pid, _parsed(file.read())
        except (OSError, ValueError, IndexError):
            continue


def _parsed(stat: bytes) -> _Seen:
    """The name stands in parentheses and may hold any byte, parentheses too; the fields after it count from 3."""
    begin, end = stat.index(b"("), stat.rindex(b")")
    fields = stat[end + 2 :].split()
    name = stat[begin + 1 : end].decode("utf-8", "replace")
    return _Seen(name, int(fields[19]), int(fields[11]) + int(fields[12]), int(fields[21]) * _PAGE_BYTES)
