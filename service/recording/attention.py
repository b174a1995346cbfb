"""When captures come closer together: while CPU or memory is unusual for the last hour.

So a short peak has an owner. A budget sees to it that a day of it costs at most a tenth more.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median

from service.clock import DAY, HOUR

# The closest that captures come, and how far apart they are once an unusual time has lasted a minute; after five
# minutes the regular ones are enough.
CLOSE_SECONDS, CLOSER_SECONDS = 5.0, 10.0
_CLOSE_FOR, _CLOSER_FOR = 60.0, 300.0
# Of what the regular captures of a day cost, more captures may cost as much: half of it saved up, half earned again.
SHARE = 0.1
# The last hour is held as averages of so many seconds; less than a minute of it says nothing.
_BUCKET_SECONDS = 20.0
_LEAST_BUCKETS = 3
# Above the hour's median by so many of its median absolute deviations, which of normal noise is three standard
# deviations, and by at least so many percent points.
_DEVIATIONS = 4.45
# And above all but a tenth of it, so that what comes again and again is usual.
_RARE = 0.9
_LEAST_POINTS = {"cpu_percent": 10.0, "memory_percent": 3.0}


class Attention:
    """Follows the samples; called by the thread that writes."""

    def __init__(self, captures_interval: float) -> None:
        """`captures_interval`: seconds between two regular captures."""
        self._interval = captures_interval
        self._hours = {metric: _Hour(points) for metric, points in _LEAST_POINTS.items()}
        # A day's extra captures are at most what is saved up when it begins, and what it earns.
        self._most = SHARE / 2 * DAY / captures_interval
        self._left = self._most
        self._earned_at: float | None = None
        self._unusual_since: float | None = None

    def wants_capture(
        self, values: Mapping[str, float | None], covered_seconds: float, now: float, captured_at: float
    ) -> bool:
        """Whether a capture should be taken now, after a sample with these values.

        `now`, `captured_at`: the present and the newest capture, by the steady clock.
        """
        self._earn(now)
        found = [hour.is_unusual(values.get(metric), covered_seconds) for metric, hour in self._hours.items()]
        if not any(found):
            self._unusual_since = None
            return False
        if self._unusual_since is None:
            self._unusual_since = now - covered_seconds
        # A tick may come a little early.
        if self._left < 1 or now - captured_at < self._spacing(now - self._unusual_since) - 0.5:
            return False
        self._left -= 1
        return True

    def _spacing(self, lasted: float) -> float:
        if lasted <= _CLOSE_FOR:
            return CLOSE_SECONDS
        return CLOSER_SECONDS if lasted <= _CLOSER_FOR else float("inf")

    def _earn(self, now: float) -> None:
        if self._earned_at is not None:
            earned = SHARE / 2 * (now - self._earned_at) / self._interval
            self._left = min(self._most, self._left + earned)
        self._earned_at = now


class _Hour:
    """One metric over the last hour."""

    def __init__(self, least_points: float) -> None:
        self._least_points = least_points
        self._averages: deque[float] = deque(maxlen=int(HOUR / _BUCKET_SECONDS))
        self._sum = self._seconds = 0.0
        self._limit = float("inf")

    def is_unusual(self, value: float | None, covered_seconds: float) -> bool:
        """Whether a value is, held against those before it, among which it counts from now on."""
        if value is None:
            return False
        is_unusual = value > self._limit
        self._sum, self._seconds = self._sum + value * covered_seconds, self._seconds + covered_seconds
        if self._seconds >= _BUCKET_SECONDS:
            self._averages.append(self._sum / self._seconds)
            self._sum = self._seconds = 0.0
            self._limit = self._above()
        return is_unusual

    def _above(self) -> float:
        if len(self._averages) < _LEAST_BUCKETS:
            return float("inf")
        middle = median(self._averages)
        deviation = median(abs(average - middle) for average in self._averages)
        above = middle + max(self._least_points, _DEVIATIONS * deviation)
        return max(above, sorted(self._averages)[int(_RARE * len(self._averages))])
