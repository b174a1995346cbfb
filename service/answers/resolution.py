"""How wide the buckets of a window are, and which tier fills them: the one place where that is decided."""

from dataclasses import dataclass
from typing import Literal

from service.clock import DAY, HOUR, MINUTE
from service.store.reader import View
from service.store.tiers import COARSEST_FIRST, DAYS, HOURS, MINUTES, SAMPLES, Tier

# Bucket widths that divide minutes, hours and days evenly, in seconds.
_EVEN = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800)
_EVEN_SECONDS = (*_EVEN, *(hours * HOUR for hours in (1, 2, 3, 4, 6, 8, 12)))
Purpose = Literal["whole", "percentile", "trend", "peaks", "series"]
TREND_BUCKETS = 60
PEAK_BUCKETS = 48


@dataclass(frozen=True, slots=True)
class Resolution:
    """Buckets of `step` seconds, filled from tiers no coarser than `tier`."""

    step: int
    tier: Tier


def resolution(purpose: Purpose, seconds: int, start: int = 0, points: int = 1, least: int = 1) -> Resolution:
    """Of an answer over the window start <= ts < start + seconds.

    `whole`: one bucket, from the coarsest rows inside it. `percentile` (and when a maximum was): as fine as is read
    quickly: samples up to two hours, minutes up to two days, hours beyond. `trend`: a sixtieth of the window in whole
    minutes, in whole hours from a week on. `peaks`: a 48th in whole minutes; in whole hours, and from hours, only
    beyond six hours: local clocks may stand half an hour off. `series`: the narrowest even bucket of at least `least`
    seconds that needs no more than `points`, and the coarsest tier that fills it without loss.
    """
    if purpose == "whole":
        return Resolution(seconds, DAYS)
    if purpose == "percentile":
        tier = SAMPLES if seconds <= 2 * HOUR else MINUTES if seconds <= 2 * DAY else HOURS
        return Resolution(tier.seconds, tier)
    if purpose == "trend":
        step = _whole(seconds / TREND_BUCKETS, HOUR if seconds >= 7 * DAY else MINUTE)
        return Resolution(step, next(tier for tier in COARSEST_FIRST if tier.seconds <= step))
    if purpose == "peaks":
        days = round(seconds / DAY)
        # A day on which the clock is set has 23 or 25 hours, and its buckets are those of any day.
        seconds = days * DAY if days and abs(seconds - days * DAY) <= HOUR else seconds
        step = _whole(seconds / PEAK_BUCKETS, HOUR if seconds > PEAK_BUCKETS * 6 * HOUR else MINUTE)
        return Resolution(step, HOURS if step > 6 * HOUR else MINUTES)
    step = _even(start, start + seconds, points, least)
    return Resolution(step, next(tier for tier in COARSEST_FIRST if step % tier.seconds == 0))


def stored_seconds(view: View, start: int, end: int) -> int:
    """How far apart the finest rows are that are stored from `start` on: no series can be finer."""
    progress = view.progress()
    if start < progress.minutes_from:
        return HOUR
    return MINUTE if start < progress.samples_from else view.interval(start, end)


def _even(start: int, end: int, points: int, least: int) -> int:
    wanted = max(least, -(-(end - start) // max(1, points - 1)))
    step = next((step for step in _EVEN_SECONDS if step >= wanted), -(-wanted // DAY) * DAY)
    while -(-end // step) - start // step > points:
        step *= 2
    return step


def _whole(seconds: float, unit: int) -> int:
    return max(unit, round(seconds / unit) * unit)
