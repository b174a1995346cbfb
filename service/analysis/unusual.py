"""Whether an hour is unlike the same hour of earlier days; pure.

Values are finite hourly averages in one unit, oldest first; None stands where nothing was recorded.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from service.analysis.recurrence import MINIMUM_DAYS

# An hour is unusual beyond so many times what all but this share of all hours differ from theirs by: bursts, weekends
# and days of another kind are among all hours, also where this hour has not seen them yet. Measured by
# benchmarks/real.py.
REACH = 1.5
RARE_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual of each hour of the day (`medians`, only of hours recorded on MINIMUM_DAYS), and how far off any
    hour usually is at most (unit of the values)."""

    medians: Mapping[Hashable, float]
    farthest: float


@dataclass(frozen=True, slots=True)
class Unusual:
    """What is expected of an hour (the median of earlier days), from which difference on it is unusual, and how many
    times as far off it is."""

    expected: float
    least: float
    score: float


def usual(hours: Sequence[float | None], places: Sequence[Hashable]) -> Usual:
    """What the hours of some days say of each place of a day, as of its 24 hours; `places` are those of `hours`.

    The farthest is the value at the rank that all but RARE_SHARE reach:
    https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method
    """
    known: dict[Hashable, list[float]] = {}
    for value, place in zip(hours, places, strict=True):
        if value is not None:
            known.setdefault(place, []).append(value)
    medians = {place: median(values) for place, values in known.items() if len(values) >= MINIMUM_DAYS}
    off = sorted(abs(value - medians[place]) for place in medians for value in known[place])
    return Usual(medians, off[ceil(len(off) * (1 - RARE_SHARE)) - 1] if off else 0.0)


def unusual(value: float, place: Hashable, usual: Usual, minimum_difference: float) -> Unusual | None:
    """How far an hour is from the same hour of earlier days; None unless that is far beyond how hours vary: by REACH
    times the farthest, and by `minimum_difference` (unit of the values). None as well where its place is not known.

    :raises ValueError: if minimum_difference is not above 0
    """
    if minimum_difference <= 0:
        raise ValueError(f"minimum_difference must be above 0, not {minimum_difference}")
    expected = usual.medians.get(place)
    if expected is None:
        return None
    least = max(REACH * usual.farthest, minimum_difference)
    score = (value - expected) / least
    return Unusual(expected, least, score) if abs(score) >= 1 else None
