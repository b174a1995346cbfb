"""How much of memory and swap is in use."""

import psutil

from service.clock import steady
from service.host.source import possible
from service.records import Reading

# Between two questions for the swap of a host that had none. Half a minute, so that new swap is seen within a minute at
# any interval below that, and at the next tick at any other.
_WITHOUT_SWAP_SECONDS = 30.0


class Swap:
    """A host without swap is asked only now and then: that costs as much as all CPU times."""

    def __init__(self) -> None:
        self._missed_at: float | None = None

    def read(self) -> Reading:
        """Empty without swap."""
        now = steady()
        if self._missed_at is not None and now - self._missed_at < _WITHOUT_SWAP_SECONDS:
            return Reading()
        swap = psutil.swap_memory()
        if not swap.total:
            self._missed_at = now
            return Reading()
        self._missed_at = None
        return Reading(gauges=possible({"swap_percent": 100 * swap.used / swap.total}))


def memory() -> Reading:
    """
    :raises ValueError: if the host says that it has no memory at all.
    """
    memory = psutil.virtual_memory()
    if not memory.total:
        raise ValueError("memory cannot be 0 bytes")
    return Reading(gauges=possible({"memory_percent": 100 * (memory.total - memory.available) / memory.total}))
