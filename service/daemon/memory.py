"""Gives memory back after answers that needed much: caches of connections, and what the C library has kept."""

import logging
import os
from collections.abc import Callable

log = logging.getLogger(__name__)
# Answers of a usual day leave less than this behind.
_GROWTH_BYTES = 6 * 2**20
# A release that frees less does not help; then an hour passes between two in the end.
_LEAST_BYTES, _MOST_RESTS = 2**20, 127
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Memory:
    """Called now and then by one thread."""

    def __init__(self, release: Callable[[], None], resident: Callable[[], int | None] | None = None) -> None:
        """`release`: drops what can be made again. `resident`: bytes of this process in memory; None where unknown."""
        self._release, self._resident = release, resident or resident_bytes
        self._usual: int | None = None
        # Checks to leave out, because the last release freed little, and how many the next ones leave out.
        self._rest = self._rests = 0

    def check(self) -> None:
        """Release where this process holds much more than at the first check; ever more rarely where that does not
        help."""
        now = self._resident()
        if self._usual is None or now is None:
            self._usual = now
        elif now > self._usual + _GROWTH_BYTES:
            self._rest -= 1
            if self._rest < 0:
                self._give_back(now)
        else:
            self._rest = self._rests = 0

    def give_back(self) -> None:
        """Release at once: what needed much has just ended."""
        self._release()
        _trim()

    def _give_back(self, before: int) -> None:
        self.give_back()
        after = self._resident() or before
        self._rests = 0 if before - after > _LEAST_BYTES else min(_MOST_RESTS, 2 * self._rests + 1)
        self._rest = self._rests
        log.debug("gave back memory: %d kB before, %d kB now", before // 1024, after // 1024)


def resident_bytes() -> int | None:
    """Of this process (proc_pid_statm(5)); None where there is no such file."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def _trim() -> None:
    """Free whole pages of the C library's heap (malloc_trim(3)); other libraries than glibc have no such call."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
