"""What every source needs: what it may raise, which values can be, and files that are kept open."""

import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import psutil

from service.metrics import METRICS

# What a host can make a source raise. Everything else is a defect of this program or of a library.
READ_ERRORS = (
    OSError,  # a file is missing, denied or broken; a mount does not answer (TimeoutError)
    ValueError,  # a file holds nonsense; a value cannot be (`possible`)
    KeyError,  # psutil.virtual_memory(): a meminfo without MemTotal
    IndexError,  # psutil.pids(): a /proc without processes; a meminfo with an empty line; a pressure without a total
    AssertionError,  # psutil.net_io_counters(): a line of /proc/net/dev without a colon
    NotImplementedError,  # psutil.disk_io_counters(): neither /proc/diskstats nor /sys/block
    MemoryError,  # the host has none left for us
    psutil.Error,  # psutil.pids() where /proc hides or loses a process
)
# The greatest value that a reading can have: a share is at most 100, and no count exceeds 63 bits.
MOST = {metric.name: 100.0 if metric.unit == "percent" else 2.0**63 for metric in METRICS}
_Number = TypeVar("_Number", int, float)
_Result = TypeVar("_Result")
# As much as the kernel gives of a list at once (seq_file).
_PAGE_BYTES = 4096
# A look at the path costs a quarter of reading the file.
_READINGS_BETWEEN_CHECKS = 4


def possible(values: dict[str, _Number]) -> dict[str, _Number]:
    """The values as they are, if each of them can be. They are never clamped: that would only look true.

    How fast a network can be is unknown, so a counter is only compared with its range, and its rate with nothing.

    :raises ValueError: if one is negative, no number, or greater than it can be.
    """
    for name, value in values.items():
        if not 0 <= value <= MOST[name]:  # also for NaN
            raise ValueError(f"{name} cannot be {value}")
    return values


class KeptOpen:
    """A file of the kernel, kept open because opening it costs more than reading it. Any thread may read it.

    The kernel writes the file anew for whoever reads it from its beginning. What else may come to stand at the path (a
    container's own file is mounted over it, say) is seen within a few readings; where the open file fails or is empty
    (what served it has been restarted), it is opened again at once.
    """

    def __init__(self, path: str, until: bytes | None = None) -> None:
        """`until`: what stands behind the part that is used; None where all of it is."""
        self._path, self._until = path, until
        self._descriptor: int | None = None
        self._identity = (0, 0)
        self._readings = 0
        # The kernel makes one text for each open file: two threads would get parts of two of them.
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self._close()

    def read(self) -> bytes | None:
        """It as it is now, at least as far as it is used; None where the kernel has no such file.

        :raises OSError: if it cannot be read.
        """
        with self._lock:
            return self._read_again() or self._open_and_read()

    def _read_again(self) -> bytes | None:
        """None where it has to be opened."""
        if self._descriptor is None:
            return None
        try:
            self._readings += 1
            if self._readings % _READINGS_BETWEEN_CHECKS or _identity(os.stat(self._path)) == self._identity:
                return self._read_through(self._descriptor)
        except OSError:
            pass  # opened again, it says what is wrong
        return None

    def _open_and_read(self) -> bytes | None:
        self._close()
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._identity = _identity(os.fstat(self._descriptor))
            return self._read_through(self._descriptor)
        except OSError as error:
            self._close()
            # ENOENT: an older kernel. EOPNOTSUPP: built in, switched off (psi=0).
            if isinstance(error, FileNotFoundError) or error.errno == errno.EOPNOTSUPP:
                return None
            raise

    def _read_through(self, descriptor: int) -> bytes:
        """The kernel gives a list page by page, and only an empty page is its end."""
        text = os.pread(descriptor, _PAGE_BYTES, 0)
        part = text
        while part and (self._until is None or self._until not in text):
            part = os.pread(descriptor, _PAGE_BYTES, len(text))
            text += part
        return text

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def kernels_or_psutils(kernels: Callable[[], _Result | None], psutils: Callable[[], _Result]) -> _Result:
    """What Linux's own file says; or psutil, where there is none, or none as `kernels` knows it (it returns None or
    raises). psutil knows other systems and odd kernels too, and says what is wrong."""
    if psutil.LINUX:
        try:
            found = kernels()
            if found is not None:
                return found
        except (OSError, ValueError, IndexError):
            pass  # psutil says what is wrong, if it knows no better either
    return psutils()


def lines_of(text: bytes) -> list[str]:
    """
    :raises ValueError: if it is cut short in the midst of a line.
    """
    if not text.endswith(b"\n"):
        raise ValueError("the file is cut short")
    return text.decode(sys.getfilesystemencoding(), "surrogateescape").split("\n")[:-1]
