"""How much of memory and swap is in use."""

import psutil

from service.host.source import possible
from service.records import Reading

# Ticks between two questions for the swap of a host that had none.
WITHOUT_SWAP_SKIP = 60


class Swap:
    """A host without swap is asked only now and then: that costs as much as all CPU times."""

    def __init__(self) -> None:
        self._skip = 0

    def read(self) -> Reading:
        """Empty without swap."""
        if self._skip:
            self._skip -= 1
            return Reading()
        swap = psutil.swap_memory()
        if not swap.total:
            self._skip = WITHOUT_SWAP_SKIP
            return Reading()
        return Reading(gauges=possible({"swap_percent": 100 * swap.used / swap.total}))


def memory() -> Reading:
    """
    :raises ValueError: if the host says that it has no memory at all.
    """
    memory = psutil.virtual_memory()
    if not memory.total:
        raise ValueError("memory cannot be 0 bytes")
    return Reading(gauges=possible({"memory_percent": 100 * (memory.total - memory.available) / memory.total}))
