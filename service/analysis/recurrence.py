"""Which hour of the day is the peak day after day; pure.

Values are finite hourly averages in one unit, oldest first; None stands where nothing was recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, fsum
from statistics import median

HOURS = 24
MINIMUM_DAYS = 7
# A day counts with three quarters of its hours: with fewer, the highest recorded is too often not the highest.
MINIMUM_HOURS = 18
# A job that starts ten minutes before the hour is seen in two: a peak may come so many hours early or late.
SLACK = 1
# For one metric's whole history, after the correction for the 24 hours tried. It is low because the same random load
# may be asked about for years.
SIGNIFICANCE = 0.005


@dataclass(frozen=True, slots=True)
class DailyPeak:
    """An hour of the day (0 to 23) that was the peak on `peak_days` of the `days` that were recorded enough.

    `height` is how far it stands above the median of the day around it, in the unit of the values (median over the
    days). `p_value` is an upper bound of the chance to find as much in load that knows no hour of the day.
    """

    hour: int
    peak_days: int
    days: int
    height: float
    p_value: float


def daily_peak(hours: Sequence[float | None], first_hour: int, minimum_height: float) -> DailyPeak | None:
    """The hour at which the peak comes back each day; None where there is none beyond chance.

    A day is the 24 hours around the hour in question. Load that is persistent has its highest hour rather at the ends
    of a day than in its middle (a random walk by the arcsine law), so the middle three of 24 hold it in at most
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
    return max((p for p in enough if p.height >= minimum_height), key=lambda p: (p.peak_days, p.height), default=None)


def _at_hour(hours: Sequence[float | None], hour: int, first: int) -> DailyPeak | None:
    """How often this hour of the day, whose first is hours[first], was the peak; None without a day."""
    days = [day for place in range(first, len(hours), HOURS) if (day := _day_around(hours, place))]
    if not days:
        return None
    on = sum(is_peak for is_peak, _ in days)
    p_value = min(HOURS * binomial_tail(on, len(days), (1 + 2 * SLACK) / HOURS), 1.0)
    return DailyPeak(hour, on, len(days), median(height for _, height in days), p_value)


def _day_around(hours: Sequence[float | None], place: int) -> tuple[bool, float] | None:
    """Whether the peak of the 24 hours around lies here, and how high this hour is above their median.

    None where too few are recorded. A maximum that other hours share is no peak.
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


def binomial_tail(hits: int, trials: int, share: float) -> float:
    """Probability of so many hits or more: https://en.wikipedia.org/wiki/Binomial_distribution"""
    return fsum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits, trials + 1))
