"""How much of memory and swap is in use."""

import re

import psutil

from service.clock import steady
from service.host.source import KeptOpen, kernels_or_psutils, possible
from service.records import Reading

# Between two questions for the swap of a host that had none. Half a minute, so that new swap is seen within a minute at
# any interval below that, and at the next tick at any other.
_WITHOUT_SWAP_SECONDS = 30.0


# As every kernel since 3.14 begins the file; where one does not, psutil estimates what is available.
_MEMORY = re.compile(rb"MemTotal: +(\d+) kB\nMemFree: +\d+ kB\nMemAvailable: +(\d+) kB\n")
# Of the kernel's own words: the line after those of swap.
_AFTER_SWAP = b"\nDirty:"
_SWAP = re.compile(rb"\nSwapTotal: +(\d+) kB\nSwapFree: +(\d+) kB\n")


class Memory:
    """Memory and swap, from one reading of /proc/meminfo."""

    def __init__(self) -> None:
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/meminfo", _AFTER_SWAP)
        self._just_read: bytes | None = None
        self._without_swap_at: float | None = None

    def memory(self) -> Reading:
        """
        :raises ValueError: if the host says that it has no memory at all.
        """
        self._just_read = None
        total, available = kernels_or_psutils(self._memory, _memory_of_psutil)
        if not total:
            raise ValueError("memory cannot be 0 bytes")
        return Reading(gauges=possible({"memory_percent": 100 * (total - available) / total}))

    def swap(self) -> Reading:
        """Empty without swap. A host without it is asked only now and then: with psutil that costs as much as all CPU
        times. Of the same moment as `memory`, where that was called just before."""
        now = steady()
        if self._without_swap_at is not None and now - self._without_swap_at < _WITHOUT_SWAP_SECONDS:
            return Reading()
        total, used = kernels_or_psutils(self._swap, _swap_of_psutil)
        self._without_swap_at = None if total else now
        return Reading(gauges=possible({"swap_percent": 100 * used / total})) if total else Reading()

    def _memory(self) -> tuple[int, int] | None:
        """Total and available; None where psutil has rules of its own for what is available."""
        text = self._just_read = self._file.read()
        found = _MEMORY.match(text or b"")
        total, available = (int(found[1]), int(found[2])) if found else (0, 0)
        return (total, available) if 0 < available <= total else None

    def _swap(self) -> tuple[int, int] | None:
        """Total and used."""
        text, self._just_read = self._just_read, None
        found = _SWAP.search(text or self._file.read() or b"")
        return (int(found[1]), int(found[1]) - int(found[2])) if found else None


def _memory_of_psutil() -> tuple[int, int]:
    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _swap_of_psutil() -> tuple[int, int]:
    swap = psutil.swap_memory()
    return swap.total, swap.used
