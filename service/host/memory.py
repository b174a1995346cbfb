"""Memory and swap in use."""

import psutil

# Ticks between two looks at a host that had no swap.
WITHOUT_SWAP_SKIP = 60


class Swap:
    """Swap use. A host without swap is asked again only now and then: the question costs as much as all of CPU."""

    def __init__(self) -> None:
        self._skip = 0

    def read(self) -> dict[str, float]:
        """Empty without swap."""
        if self._skip:
            self._skip -= 1
            return {}
        swap = psutil.swap_memory()
        if not swap.total:
            self._skip = WITHOUT_SWAP_SKIP
            return {}
        return {"swap_percent": 100 * swap.used / swap.total}


def memory() -> dict[str, float]:
    memory = psutil.virtual_memory()
    return {"memory_percent": 100 * (memory.total - memory.available) / memory.total}
