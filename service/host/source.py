"""What every source needs: what it may raise, which values can be, and files that are kept open."""

import os
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
    """A small file of the kernel, kept open because opening it costs more than reading it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> bytes | None:
        """All of it, as it is now; None where the kernel has no such file.

        :raises OSError: if it cannot be read.
        """
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._descriptor, 4096, 0)
        except OSError as error:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            # ENOENT: an older kernel. EOPNOTSUPP: built in, switched off (psi=0).
            if isinstance(error, FileNotFoundError) or error.errno == 95:
                return None
            raise
