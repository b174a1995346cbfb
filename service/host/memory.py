"""How much of memory and swap is in use, for what, and what was read from disk for want of it."""

import os
import re
from collections.abc import Mapping, Sequence

import psutil

from service.clock import steady
from service.host.source import KeptOpen, kernels_or_psutils, possible
from service.metrics import KIB
from service.records import Reading

# Between two questions for the swap of a host that had none. Half a minute, so that new swap is seen within a minute at
# any interval below that, and at the next tick at any other.
_WITHOUT_SWAP_SECONDS = 30.0


# As every kernel since 3.14 begins the file; where one does not, psutil estimates what is available.
_MEMORY = re.compile(rb"MemTotal: +(\d+) kB\nMemFree: +(\d+) kB\nMemAvailable: +(\d+) kB\n")
_HELD = re.compile(rb"\nBuffers: +(\d+) kB\nCached: +(\d+) kB\n")
_DIRTY = re.compile(rb"\nDirty: +(\d+) kB\n")
# Of the kernel's own words: the line after all that is used.
_AFTER_DIRTY = b"\nWriteback:"
_SWAP = re.compile(rb"\nSwapTotal: +(\d+) kB\nSwapFree: +(\d+) kB\n")
_NO_SWAP: Mapping[str, float] = {"swap_total_bytes": 0, "swap_free_bytes": 0}
# Of /proc/vmstat, in pages and in events.
_SWAPPED = re.compile(rb"\npswpin (\d+)\npswpout (\d+)\n")
_MAJOR_FAULTS = re.compile(rb"\npgmajfault (\d+)\n")
_OOM_KILLS = re.compile(rb"\noom_kill (\d+)\n")


class Memory:
    """Memory and swap, from one reading of /proc/meminfo."""

    def __init__(self) -> None:
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/meminfo", _AFTER_DIRTY)
        self._just_read: bytes | None = None
        self._without_swap_at: float | None = None

    def memory(self) -> Reading:
        """
        :raises ValueError: if the host says that it has no memory at all.
        """
        self._just_read = None
        sizes = kernels_or_psutils(self._memory, _memory_of_psutil)
        total, available = sizes["memory_total_bytes"], sizes["memory_available_bytes"]
        if not total:
            raise ValueError("memory cannot be 0 bytes")
        return Reading(gauges=possible({"memory_percent": 100 * (total - available) / total, **sizes}))

    def swap(self) -> Reading:
        """No share without swap. Of the same moment as `memory`, where that was called just before; where psutil has to
        be asked, a host without swap is asked only now and then, as that costs as much as all CPU times."""
        now = steady()
        if self._just_read is None and self._was_without_swap(now):
            return Reading(gauges=_NO_SWAP)
        total, free = kernels_or_psutils(self._swap, _swap_of_psutil)
        self._without_swap_at = None if total else now
        if not total:
            return Reading(gauges=_NO_SWAP)
        share = 100 * (total - free) / total
        return Reading(gauges=possible({"swap_percent": share, "swap_total_bytes": total, "swap_free_bytes": free}))

    def _was_without_swap(self, now: float) -> bool:
        return self._without_swap_at is not None and now - self._without_swap_at < _WITHOUT_SWAP_SECONDS

    def _memory(self) -> dict[str, float] | None:
        """Metric -> bytes; None where psutil has rules of its own for what is available."""
        self._just_read = b""  # also where reading fails: then `swap` says so too
        text = self._just_read = self._file.read() or b""
        found = _MEMORY.match(text)
        if not found or not 0 < int(found[3]) <= int(found[1]):
            return None
        sizes = _sizes(("memory_total_bytes", "memory_free_bytes", "memory_available_bytes"), found)
        if held := _HELD.search(text):
            sizes |= _sizes(("memory_buffers_bytes", "memory_cached_bytes"), held)
        if dirty := _DIRTY.search(text):
            sizes |= _sizes(("memory_dirty_bytes",), dirty)
        return sizes

    def _swap(self) -> tuple[int, int] | None:
        """Total and free."""
        text, self._just_read = self._just_read, None
        found = _SWAP.search(text or self._file.read() or b"")
        return (KIB * int(found[1]), KIB * int(found[2])) if found else None


class Paging:
    """What was read from disk for want of memory, and who was killed for it (/proc/vmstat), since boot."""

    def __init__(self) -> None:
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/vmstat")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> Reading:
        """What the kernel counts: on other systems psutil knows only what was swapped, for the price of all else.

        :raises ValueError: if the file is there and says nothing of it.
        """
        text = self._file.read()
        if text is None:
            return Reading()
        counters: dict[str, int] = {}
        if swapped := _SWAPPED.search(text):
            pages = self._page_bytes
            counters = {"swap_in_bytes": pages * int(swapped[1]), "swap_out_bytes": pages * int(swapped[2])}
        for name, pattern in (("major_faults", _MAJOR_FAULTS), ("oom_kills", _OOM_KILLS)):
            if found := pattern.search(text):
                counters[name] = int(found[1])
        if not counters:
            raise ValueError("/proc/vmstat counts no page that was read")
        return Reading(counters=possible(counters))


def _sizes(names: Sequence[str], found: re.Match[bytes]) -> dict[str, float]:
    return {name: KIB * int(size) for name, size in zip(names, found.groups(), strict=True)}


def _memory_of_psutil() -> dict[str, float]:
    """psutil counts more as cached than the kernel's own line, so that one is left out."""
    memory = psutil.virtual_memory()
    return {
        "memory_total_bytes": memory.total,
        "memory_free_bytes": memory.free,
        "memory_available_bytes": memory.available,
    }


def _swap_of_psutil() -> tuple[int, int]:
    swap = psutil.swap_memory()
    return swap.total, swap.free
