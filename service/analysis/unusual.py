"""Whether an hour is unlike the same hour of earlier days; pure.

Values are finite hourly averages in one unit, oldest first; None stands where nothing was recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import median

from service.analysis.recurrence import MINIMUM_DAYS

# An hour is unusual from so many deviations on: 11 with 7 earlier days, 9 with 14, 8 with 28, because a deviation
# taken from few days is often too small. Calibrated, like the next three: benchmarks/foresight.py.
UNUSUAL_DEVIATIONS = 7.0
FEW_DAYS = 28.0
# And only if so many times as far as the farthest of the earlier days: weekends and earlier bursts are among those.
UNUSUAL_REACH = 2.0
# The same on the scale of logarithms, for load that is mostly idle and at times busy: this share of the deviations,
# so many times as far as the farthest.
LOGARITHM_SHARE = 0.9
LOGARITHM_REACH = 3.5


@dataclass(frozen=True, slots=True)
class Unusual:
    """What is expected of an hour (the median of earlier days), how they vary, and by how many spreads it is off."""

    expected: float
    spread: float
    score: float


def unusual(value: float, earlier: Sequence[float | None], minimum_difference: float) -> Unusual | None:
    """How far an hour is from the same hour of earlier days; None unless that is far beyond how those days vary.

    Far beyond: by UNUSUAL_DEVIATIONS + FEW_DAYS / days deviations, by UNUSUAL_REACH times the farthest of those days
    on the same side of their median, by much the same on the scale of logarithms, and by `minimum_difference` (unit
    of the values). The deviation is 1.4826 times the median absolute deviation:
    https://en.wikipedia.org/wiki/Median_absolute_deviation. None as well with fewer than MINIMUM_DAYS days recorded.

    :raises ValueError: if minimum_difference is not above 0
    """
    if minimum_difference <= 0:
        raise ValueError(f"minimum_difference must be above 0, not {minimum_difference}")
    known = [v for v in earlier if v is not None]
    if len(known) < MINIMUM_DAYS:
        return None
    least = UNUSUAL_DEVIATIONS + FEW_DAYS / len(known)
    # Within `minimum_difference` of zero (or of the lowest), the logarithm of the sum is about linear.
    offset = minimum_difference - min(0.0, value, *known)
    logarithms = [log(v + offset) for v in known]
    if not _far(value, known, least, UNUSUAL_REACH, minimum_difference) or not _far(
        log(value + offset), logarithms, LOGARITHM_SHARE * least, LOGARITHM_REACH, 0.0
    ):
        return None
    expected, deviation = _centre_and_deviation(known)
    # Days that were all the same have no deviation. The floor gives the least difference the least score.
    spread = max(deviation, minimum_difference / least)
    return Unusual(expected, spread, (value - expected) / spread)


def _far(value: float, known: Sequence[float], deviations: float, reach: float, least: float) -> bool:
    """Whether it is off by so many deviations, by `reach` times the farthest on its side of the median, and `least`."""
    centre, deviation = _centre_and_deviation(known)
    farthest = max(known) - centre if value > centre else centre - min(known)
    return abs(value - centre) >= max(deviations * deviation, reach * farthest, least)


def _centre_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    centre = median(values)
    return centre, 1.4826 * median(abs(v - centre) for v in values)
