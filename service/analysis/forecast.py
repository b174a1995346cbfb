"""When a quantity that grows reaches its limit, with an interval; pure: no clock, no store, no log.

A profile of the day or of the week is taken off the history, futures of the rest are drawn (by futures.py), and their
quantiles are the answer. docs/statistics.md explains each step, and how often such intervals hold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, fsum, hypot, inf, log

from service.analysis.futures import DRAWS, MINIMUM_CHANGES, futures, passages

# Share of the intervals that hold the moment: 10 % come before `earliest`, 10 % after `latest`.
NOMINAL = 0.8
# A week has shown its weekend and its cleanup; with four days intervals hold in 26 to 98 % (benchmarks/foresight.py).
MINIMUM_DAYS = 7
# Share of the futures that must grow: where growth may be none at all, a forecast is wrong too often.
GROWING = 0.95
# No single day may carry more of the growth than this, or take as much back.
SINGLE_CHANGE = 0.5
# The middle may lie ahead by at most so many times the recorded length; beyond so many, `latest` is left open.
MIDDLE_AT_MOST = 3.0
LATEST_AT_MOST = 10.0
# A profile is taken from at least so many cycles, if chance would give it as seldom as this.
MINIMUM_CYCLES = 3
PROFILE_SIGNIFICANCE = 0.01

# What has not happened in a month may happen in the next: beyond so many days an interval is widened on the scale of
# logarithms, by this power of how often they go into the time ahead, and by what the host's own forecasts have shown.
# Measured: benchmarks/real.py.
WIDER_BEYOND_DAYS = 3.0
WIDER_POWER = 0.2
# A month at one rate does not say how much the rate will change: each side of an interval is at least so wide on that
# scale. Added to the rest as variances are: what is wide already hardly changes.
RATE_DOUBT = 0.1
# By how much one forecast that held or failed changes the factor (its logarithm), and within what it stays.
LEARNING_RATE = 0.2
FACTORS = (0.8, 4.0)


@dataclass(frozen=True, slots=True)
class Filling:
    """When a quantity that grows reaches its limit, by its own history.

    `growth_per_day` is in the unit of the values. The seconds count from the last recorded value to the first hour
    at the limit; `latest_seconds` is None where it lies beyond LATEST_AT_MOST times the history.
    """

    growth_per_day: float
    earliest_seconds: float
    middle_seconds: float
    latest_seconds: float | None


def time_to_full(used: Sequence[float | None], step_seconds: float, limit: float) -> Filling | None:
    """When `used` (evenly spaced, as hourly; finite, oldest first, None where unknown) first reaches `limit`.

    None where the history does not support an answer: too little of it is recorded, it is full already, the growth
    cannot be distinguished from the variation, came in one day or has ceased, or the middle lies beyond MIDDLE_AT_MOST
    times the history.

    :raises ValueError: if step_seconds is not above 0 or above a sixth of a day
    """
    if not 0 < step_seconds <= 14400:
        raise ValueError(f"step_seconds must be above 0 and at most 14400, not {step_seconds}")
    day = round(86400 / step_seconds)
    last = max((i for i, v in enumerate(used) if v is not None), default=-1)
    known = [v for v in used if v is not None]
    if len(known) < MINIMUM_DAYS * day or known[-1] >= limit or max(known) == min(known):
        return None
    scale = max(known) - min(known)
    values = [None if v is None else (v - known[-1]) / scale for v in used[: last + 1]]
    profile, cycles = _profile(values, day)
    level = [None if v is None else v - profile[(i - len(values)) % len(profile)] for i, v in enumerate(values)]
    if not grows_throughout(level[::-day]):
        return None
    drawn = futures(level, day, cycles)
    times = passages(drawn, profile, (limit - known[-1]) / scale, LATEST_AT_MOST * len(values))
    return interval([future.rate * scale * day for future in drawn], times, len(values), step_seconds)


def widened(filling: Filling, factor: float) -> Filling:
    """The interval about the same middle, wider by RATE_DOUBT and where this lies beyond WIDER_BEYOND_DAYS; `factor` as
    `learnt` gives it, 1 where nothing has been learnt."""
    middle, latest = filling.middle_seconds, filling.latest_seconds
    ahead = middle / 86400 / WIDER_BEYOND_DAYS
    wider = ahead**WIDER_POWER * factor if ahead > 1 else 1.0

    def side(ratio: float) -> float:
        return exp(hypot(wider * log(ratio), RATE_DOUBT))

    return replace(
        filling,
        earliest_seconds=middle / side(middle / filling.earliest_seconds),
        latest_seconds=None if latest is None else middle * side(latest / middle),
    )


def learnt(held: Sequence[bool]) -> float:
    """The factor after forecasts that held or failed, oldest first, none of which overlaps another: adaptive conformal
    inference, Gibbs & Candes (2021), https://arxiv.org/abs/2106.00170. Each failure widens by four times as much as one
    that held narrows, so that it rests where NOMINAL of them hold."""
    factor, (least, most) = 1.0, FACTORS
    for is_held in held:
        factor *= exp(LEARNING_RATE * ((not is_held) - (1 - NOMINAL)))
        factor = min(max(factor, least), most)
    return factor


def interval(growths: list[float], times: list[float], length: int, step_seconds: float) -> Filling | None:
    """The quantiles of DRAWS futures: NOMINAL of them lie in the interval; None if too many shrink or it is too far.

    `growths` in units a day; `times` and `length` (of the history) in steps, infinite where the limit is not reached.
    Between two order statistics of n futures lie as many further ones as ranks, of n + 1:
    https://en.wikipedia.org/wiki/Prediction_interval#Non-parametric_methods
    """
    growths, times = sorted(growths), sorted(times)
    tail = round((DRAWS + 1) * (1 - NOMINAL) / 2)
    earliest, middle, latest = times[tail - 1], times[DRAWS // 2], times[DRAWS - tail]
    if growths[int((1 - GROWING) * DRAWS)] <= 0 or middle > MIDDLE_AT_MOST * length:
        return None
    seconds = None if latest == inf else latest * step_seconds
    return Filling(growths[DRAWS // 2], earliest * step_seconds, middle * step_seconds, seconds)


def grows_throughout(days: Sequence[float | None]) -> bool:
    """Whether the values of each day's last hour (newest first) have grown, in the newest third too, and on more than
    one day: a single step says nothing about the next.
    """
    known = [v for v in days if v is not None]
    changes = [new - old for new, old in pairwise(known)]
    if len(changes) < MINIMUM_CHANGES:
        return False
    grown = known[0] - known[-1]
    most = max(abs(change) for change in changes)
    return grown > 0 and most <= SINGLE_CHANGE * grown and known[0] >= known[len(known) // 3]


def _profile(values: Sequence[float | None], day: int) -> tuple[list[float], float]:
    """How the hours of the week, or else of the day, differ (the hour of the last value comes last), and from how
    many cycles that is known; [0.0] and infinity where they do not differ beyond chance.
    """
    for period in (7 * day, day):
        rows = list(_cycles(values, period))
        columns = [[v for v in column if v is not None] for column in zip(*rows, strict=True)]
        if len(rows) >= MINIMUM_CYCLES and all(columns) and _by_chance(columns, len(rows)) < PROFILE_SIGNIFICANCE:
            return [fsum(column) / len(column) for column in columns], len(rows)
    return [0.0], inf


def _cycles(values: Sequence[float | None], period: int) -> Iterator[list[float | None]]:
    """Whole cycles from the end, each less the common slope and its own mean; only those recorded to three quarters."""
    steps = [b - a for a, b in zip(values, values[period:], strict=False) if a is not None and b is not None]
    slope = fsum(steps) / max(len(steps), 1) / period
    for end in range(len(values), period - 1, -period):
        flat = [None if v is None else v - slope * i for i, v in enumerate(values[end - period : end])]
        known = [v for v in flat if v is not None]
        if len(known) >= 0.75 * period:
            mean = fsum(known) / len(known)
            yield [None if v is None else v - mean for v in flat]


def _by_chance(columns: Sequence[Sequence[float]], cycles: int) -> float:
    """p-value of the hours differing so much only because cycles differ: an F test,
    https://en.wikipedia.org/wiki/F-test

    Hours in a row are not independent. A cycle of a random walk has about two degrees of freedom, and at two the
    distribution of F has a closed form.
    """
    means = [fsum(column) / len(column) for column in columns]
    within = fsum((v - mean) ** 2 for column, mean in zip(columns, means, strict=True) for v in column)
    freedom = sum(map(len, columns)) - len(columns)
    between = cycles * fsum(mean * mean for mean in means) / len(means)
    ratio = between / max(within / max(freedom, 1), 1e-12)
    return (1 + ratio / (cycles - 1)) ** (1 - cycles)
