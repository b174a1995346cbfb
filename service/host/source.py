"""What a source may raise and what it may say: errors, bounds, files kept open."""

import os
from typing import TypeVar

import psutil

from service.metrics import METRICS

# What broken, missing or nonsensical sources have been seen to raise through psutil.
READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    NotImplementedError,
    NameError,
    AssertionError,
    EOFError,
    MemoryError,
    psutil.Error,
)
# What a reading may be at most: a share is 0 to 100, and no count passes what the kernel counts in.
MOST = {metric.name: 100.0 if metric.unit == "percent" else 2.0**63 for metric in METRICS}
_Number = TypeVar("_Number", int, float)


def possible(values: dict[str, _Number]) -> dict[str, _Number]:
    """The values, unless one cannot be: it is then left out and told, never clamped to what would look true.

    Nothing is known of how fast a network may be, so a counter is only held to its range; its rate is analysis.

    :raises ValueError: if one is negative, no number, or more than there can be.
    """
    for name, value in values.items():
        if not 0 <= value <= MOST[name]:  # also for NaN
            raise ValueError(f"{name} cannot be {value}")
    return values


class KeptOpen:
    """A small /proc file, kept open because opening costs more than reading; None where the kernel has none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> bytes | None:
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
