"""CPU times since boot: of all CPUs together, and of each one."""

import os
import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import psutil

from service.host.source import KeptOpen, kernels_or_psutils, possible
from service.records import CpuSeconds, Reading

_STATES = attrgetter(*CpuSeconds._fields)
# Of the kernel's own words in /proc/stat: the line after those of the CPUs, and the lines after that of the interrupts.
_AFTER_CPUS = b"\nintr"
_COUNTS = re.compile(rb"\nctxt (\d+)\nbtime \d+\nprocesses (\d+)\nprocs_running (\d+)\nprocs_blocked (\d+)\n")


class Cpus:
    """The times of all CPUs together, and of each one that is online, by its number.

    The sum is the host's own, in which CPUs that are offline keep their times: a sum over the CPUs that are online
    would jump whenever one of them goes or comes.

    psutil lists them in order of their numbers, but does not give the numbers: when a CPU goes offline, those after it
    move up. The kernel's list of CPUs that are online (cputopology.rst) has them; the lines of /proc/stat do not where
    a container's own file counts them from 0.
    """

    def __init__(self, online: str = "/sys/devices/system/cpu/online") -> None:
        """`online`: where the kernel keeps that list."""
        self._online = KeptOpen(online, b"\n")
        self._listed: bytes | None = None
        self._numbers: list[str] = []
        self._stat = KeptOpen(f"{psutil.PROCFS_PATH}/stat", b"\nsoftirq")
        self._ticks = os.sysconf("SC_CLK_TCK") if psutil.LINUX else 1
        # The lines of each CPU, of the text from which all of them were read just now.
        self._lines: list[bytes] | None = None
        self._rest: bytes | None = None

    def all(self) -> Reading:
        """
        :raises ValueError: if /proc/stat is empty or cut short.
        """
        self._lines = self._rest = None
        return Reading(cpu_seconds=kernels_or_psutils(self._all, lambda: _seconds(_of_psutil(percpu=False))))

    def each(self) -> Reading:
        """Of the same moment as `all`, where that was called just before.

        :raises ValueError: if /proc/stat lists no CPU or is cut short.
        """
        counted, seconds = kernels_or_psutils(self._each, _each_of_psutil)
        if not seconds:
            raise ValueError("/proc/stat lists no CPU")
        by_cpu = dict(zip(self._names(counted, len(seconds)), seconds, strict=True))
        return Reading(gauges={"cpu_count": len(seconds)}, seconds_by_cpu=by_cpu)

    def activity(self) -> Reading:
        """What the scheduler counts: switches and forks since boot, and tasks that run or wait for a disk. Of the same
        moment as `all`, where that was called just before."""
        return kernels_or_psutils(self._activity, _activity_of_psutil)

    def _activity(self) -> Reading | None:
        rest, self._rest = self._rest, None
        found = _COUNTS.search(rest if rest is not None else self._stat.read() or b"")
        if not found:
            return None
        switches, forks, running, blocked = map(int, found.groups())
        return Reading(
            possible({"processes_running": running, "processes_blocked": blocked}),
            possible({"context_switches": switches, "forks": forks}),
        )

    def _all(self) -> CpuSeconds | None:
        lines = self._read_lines()
        if lines is None:
            return None
        self._lines = lines[1:]
        return self._seconds_in(lines[0])

    def _each(self) -> tuple[list[str] | None, list[CpuSeconds]] | None:
        """By what number each one's line goes, and its times."""
        lines, self._lines = self._lines, None
        if lines is None:
            lines = (self._read_lines() or [])[1:]
        counted = [line[3 : line.index(b" ")].decode("ascii") for line in lines]
        return (counted, [self._seconds_in(line) for line in lines]) if lines else None

    def _read_lines(self) -> list[bytes] | None:
        """Of all CPUs, and then of each; None where the file is not as the kernel writes it."""
        text, found, self._rest = (self._stat.read() or b"").partition(_AFTER_CPUS)
        return text.split(b"\n") if found else None

    def _seconds_in(self, line: bytes) -> CpuSeconds:
        """
        :raises ValueError: if the line is none of a CPU with all its states, or they cannot be.
        """
        name, *counts = line.split(None, 9)
        if not name.startswith(b"cpu"):
            raise ValueError(f"/proc/stat has no CPU in {line!r}")
        user, nice, system, idle, iowait, irq, softirq, steal = [int(count) / self._ticks for count in counts[:8]]
        return _possible(CpuSeconds(user, nice, system, irq, softirq, steal, idle, iowait))

    def _names(self, counted: Sequence[str] | None, count: int) -> Sequence[str]:
        """The number of each; where these are unknown, names that are the same only while as many CPUs are listed.

        `counted`: by which number each is listed, if that is known. Where these are as before, so is what is online.
        """
        if counted is None or counted != self._numbers:
            listed = self._online.read()
            if listed != self._listed:
                self._listed, self._numbers = listed, _numbers(listed or b"")
        if len(self._numbers) == count:
            return self._numbers
        return [f"{place} of {count}" for place in range(count)]


def _numbers(listed: bytes) -> list[str]:
    """The numbers of a list like `0-3,8`; none where it is empty."""
    ranges = [part.split("-") for part in listed.decode("ascii").strip().split(",") if part]
    return [str(number) for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)]


def _each_of_psutil() -> tuple[list[str] | None, list[CpuSeconds]]:
    """As `Cpus._each`; psutil gives no numbers."""
    return None, [_seconds(times) for times in _of_psutil(percpu=True)]


def _activity_of_psutil() -> Reading:
    """psutil gives switches alone, and no system but Linux counts the rest.

    :raises ValueError: if /proc/stat does not say it.
    """
    switches = psutil.cpu_stats().ctx_switches
    if switches is None:
        raise ValueError("/proc/stat does not count context switches")
    return Reading(counters=possible({"context_switches": switches}))


def _of_psutil(percpu: bool) -> Any:
    """
    :raises ValueError: if /proc/stat is cut short.
    """
    try:
        return psutil.cpu_times(percpu=True) if percpu else psutil.cpu_times()
    except TypeError as error:  # psutil has too few numbers for its tuple
        raise ValueError(f"/proc/stat is cut short: {error}") from error


def _seconds(times: Any) -> CpuSeconds:
    """`times`: psutil's `scputimes`, which has fewer states on some systems."""
    try:
        return _possible(CpuSeconds._make(_STATES(times)))
    except AttributeError:
        return _possible(CpuSeconds(*[getattr(times, state, 0.0) for state in CpuSeconds._fields]))


def _possible(seconds: CpuSeconds) -> CpuSeconds:
    if not (min(seconds) >= 0 and sum(seconds) < 2.0**63):  # also for NaN
        raise ValueError(f"CPU times cannot be {seconds}")
    return seconds
