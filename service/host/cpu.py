"""CPU times since boot: of all CPUs together, and of each one."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import psutil

from service.host.source import KeptOpen
from service.records import CpuSeconds, Reading

_STATES = attrgetter(*CpuSeconds._fields)


def all_cpus() -> Reading:
    """The host's own sum, in which CPUs that are offline keep their times: a sum over the CPUs that are online would
    jump whenever one of them goes or comes.

    :raises ValueError: if /proc/stat is empty or cut short.
    """
    try:
        times = psutil.cpu_times()
    except TypeError as error:  # psutil has too few numbers for its tuple
        raise ValueError(f"/proc/stat is cut short: {error}") from error
    return Reading(cpu_seconds=_seconds(times))


class EachCpu:
    """The times of each CPU that is online, by its number.

    psutil lists them in order of their numbers, but does not give the numbers: when a CPU goes offline, those after it
    move up. The kernel's list of CPUs that are online (cputopology.rst) has them.
    """

    def __init__(self, online: str = "/sys/devices/system/cpu/online") -> None:
        """`online`: where the kernel keeps that list."""
        self._online = KeptOpen(online)
        self._listed: bytes | None = None
        self._numbers: list[str] = []

    def read(self) -> Reading:
        """
        :raises ValueError: if /proc/stat lists no CPU or is cut short.
        """
        try:
            times = psutil.cpu_times(percpu=True)
        except TypeError as error:  # as above
            raise ValueError(f"/proc/stat is cut short: {error}") from error
        if not times:
            raise ValueError("/proc/stat lists no CPU")
        return Reading(seconds_by_cpu=dict(zip(self._names(times), map(_seconds, times), strict=True)))

    def _names(self, times: Sequence[object]) -> list[str]:
        """The number of each; where these are unknown, names that are the same only while as many CPUs are listed."""
        listed = self._online.read()
        if listed != self._listed:
            self._listed, self._numbers = listed, _numbers(listed or b"")
        if len(self._numbers) == len(times):
            return self._numbers
        return [f"{place} of {len(times)}" for place in range(len(times))]


def _numbers(listed: bytes) -> list[str]:
    """The numbers of a list like `0-3,8`; none where it is empty."""
    ranges = [part.split("-") for part in listed.decode("ascii").strip().split(",") if part]
    return [str(number) for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)]


def _seconds(times: Any) -> CpuSeconds:
    """`times`: psutil's `scputimes`, which has fewer states on some systems."""
    try:
        seconds = CpuSeconds._make(_STATES(times))
    except AttributeError:
        seconds = CpuSeconds(*[getattr(times, state, 0.0) for state in CpuSeconds._fields])
    if not (min(seconds) >= 0 and sum(seconds) < 2.0**63):  # also for NaN
        raise ValueError(f"CPU times cannot be {seconds}")
    return seconds
