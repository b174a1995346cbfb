"""Adds up what several devices have moved, also while some of them come and go."""

from collections.abc import Mapping

from service.host.source import possible
from service.records import Reading

# Bytes since boot in two directions.
Moved = tuple[int, int]
_NOTHING: Moved = (0, 0)
_MOST = 2**63


class Totals:
    """Two counters of bytes, each over all devices, that never fall.

    They begin as the sum of all devices, or as what is known of this boot from before, where that is more: of devices
    that have left since. From then on only what each device has moved since the reading before is added: one that
    leaves takes nothing along, and one that appears, or whose counter has fallen, counts from there.
    """

    def __init__(self, first: str, second: str) -> None:
        """The names of the two metrics."""
        self._names = first, second
        self._before: Mapping[str, Moved] | None = None
        self._totals = self._least = _NOTHING

    def go_on_from(self, counters: Mapping[str, int]) -> None:
        """`counters`: metric -> what had been moved in this boot when an earlier run ended. Before the first reading.

        Both it and the sum of the devices may lack something, and neither holds what was never moved.
        """
        self._least = counters.get(self._names[0], 0), counters.get(self._names[1], 0)

    def add(self, now: Mapping[str, Moved]) -> Reading:
        """`now`: device -> what it has moved; empty where there are none, which gives nothing.

        :raises ValueError: if a counter cannot be; what was added up before stays.
        """
        before, (first, second) = self._before, self._totals
        for name, moved in now.items():
            if not (0 <= moved[0] <= _MOST and 0 <= moved[1] <= _MOST):  # also for NaN
                raise ValueError(f"{name} cannot have moved {moved} bytes")
            then = _NOTHING if before is None else before.get(name, moved)
            first += max(0, moved[0] - then[0])
            second += max(0, moved[1] - then[1])
        if before is None:
            first, second = max(first, self._least[0]), max(second, self._least[1])
        counters = possible({self._names[0]: first, self._names[1]: second})
        if now or before is not None:
            self._before, self._totals = now, (first, second)
        return Reading(counters=counters) if now else Reading()
