"""Which hour of the day is the peak day after day, which hour is unlike earlier days; pure: no clock, no store, no log.

Values are finite hourly averages in one unit, oldest first; None stands where nothing was recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, fsum, log
from statistics import median

HOURS = 24
MINIMUM_DAYS = 7
# A day counts with three quarters of its hours: with fewer, the highest recorded is too often not the highest.
MINIMUM_HOURS = 18
# A job that starts ten minutes before the hour is seen in two: a peak may come so many hours early or late.
SLACK = 1
# Of one metric's whole history, with the 24 hours tried paid for. A random load may be asked about for years.
SIGNIFICANCE = 0.005
# An hour is unusual from so many deviations on: 11 with 7 earlier days, 9 with 14, 8 with 28, for a deviation taken
# from few days is often too small. Calibrated, as the next three: benchmarks/foresight.py.
UNUSUAL_DEVIATIONS = 7.0
FEW_DAYS = 28.0
# And from so many times the farthest of the earlier days on: weekends, and bursts that were there before.
UNUSUAL_REACH = 2.0
# The same on the scale of logarithms, for load that is mostly idle and at times busy: this share of the deviations,
# so many times the farthest.
LOGARITHM_SHARE = 0.9
LOGARITHM_REACH = 3.5


@dataclass(frozen=True, slots=True)
class DailyPeak:
    """An hour of the day (0 to 23) that was the peak on `days_on` of the `days` that were recorded enough.

    `height` is how far it stands above the median of the day around it, in the unit of the values (median over the
    days). `p_value` is an upper bound of the chance to find as much in load that knows no hour of the day.
    """

    hour: int
    days_on: int
    days: int
    height: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Unusual:
    """What earlier days let expect of an hour (their median), how they vary, and how many of that the hour is off."""

    expected: float
    spread: float
    score: float


def daily_peak(hours: Sequence[float | None], first_hour: int, minimum_height: float) -> DailyPeak | None:
    """The hour at which the peak comes back each day; None where there is none beyond chance.

    A day is the 24 hours around the hour in question. Load that is persistent has its highest hour rather at the ends
    of a stretch than in its middle (a random walk by the arcsine law), so the middle three of 24 hold it in at most
    3/24 of all days, whatever the load; https://en.wikipedia.org/wiki/Arcsine_laws_(Wiener_process). The number of
    days is then binomial, and its p-value is multiplied by the 24 hours tried. None as well with fewer than
    MINIMUM_DAYS days recorded, and where the peak is lower than `minimum_height` (unit of the values).

    :raises ValueError: if first_hour is outside 0..23, or minimum_height is not above 0
    """
    if first_hour not in range(HOURS):
        raise ValueError(f"first_hour must lie in 0..23, not {first_hour}")
    if minimum_height <= 0:
        raise ValueError(f"minimum_height must be above 0, not {minimum_height}")
    found = [_at_hour(hours, hour, (hour - first_hour) % HOURS) for hour in range(HOURS)]
    enough = [peak for peak in found if peak and peak.days >= MINIMUM_DAYS and peak.p_value < SIGNIFICANCE]
    return max((p for p in enough if p.height >= minimum_height), key=lambda p: (p.days_on, p.height), default=None)


def _at_hour(hours: Sequence[float | None], hour: int, first: int) -> DailyPeak | None:
    """How often this hour of the day, whose first is hours[first], was the peak; None without a day."""
    days = [day for place in range(first, len(hours), HOURS) if (day := _day_around(hours, place))]
    if not days:
        return None
    on = sum(is_peak for is_peak, _ in days)
    p_value = min(HOURS * _at_least(on, len(days), (1 + 2 * SLACK) / HOURS), 1.0)
    return DailyPeak(hour, on, len(days), median(height for _, height in days), p_value)


def _day_around(hours: Sequence[float | None], place: int) -> tuple[bool, float] | None:
    """Whether the peak of the 24 hours around lies here, and how high this hour is above their median.

    None where too few are recorded. A peak that other hours share is none.
    """
    start, end = place - HOURS // 2, place + HOURS // 2
    here = hours[place]
    if start < 0 or end > len(hours) or here is None:
        return None
    near = [v for v in hours[place - SLACK : place + SLACK + 1] if v is not None]
    others = [v for v in (*hours[start : place - SLACK], *hours[place + SLACK + 1 : end]) if v is not None]
    if len(near) + len(others) < MINIMUM_HOURS:
        return None
    return max(near) > max(others), here - median(near + others)


def _at_least(hits: int, trials: int, share: float) -> float:
    """Chance of so many hits or more: https://en.wikipedia.org/wiki/Binomial_distribution"""
    return fsum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits, trials + 1))


def unusual(value: float, earlier: Sequence[float | None], minimum_difference: float) -> Unusual | None:
    """How far an hour is from the same hour of earlier days; None unless that is far beyond what those days vary.

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
    # Below `minimum_difference` above nothing (or above the lowest), the logarithm is about linear.
    offset = minimum_difference - min(0.0, value, *known)
    logarithms = [log(v + offset) for v in known]
    if not _far(value, known, least, UNUSUAL_REACH, minimum_difference) or not _far(
        log(value + offset), logarithms, LOGARITHM_SHARE * least, LOGARITHM_REACH, 0.0
    ):
        return None
    expected, deviation = _centre_and_deviation(known)
    # The floor is what the least score makes of the least difference: days that were all the same have none.
    spread = max(deviation, minimum_difference / least)
    return Unusual(expected, spread, (value - expected) / spread)


def _far(value: float, known: Sequence[float], deviations: float, reach: float, least: float) -> bool:
    """By so many deviations, by `reach` times the farthest on this side of the median, and at least by `least`."""
    centre, deviation = _centre_and_deviation(known)
    farthest = max(known) - centre if value > centre else centre - min(known)
    return abs(value - centre) >= max(deviations * deviation, reach * farthest, least)


def _centre_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    centre = median(values)
    return centre, 1.4826 * median(abs(v - centre) for v in values)
