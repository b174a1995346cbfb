"""When a quantity that grows reaches its limit, with an interval; pure: no clock, no store, no log.

The model is a level that drifts and wanders, noise that fades, and a profile of the day or of the week: Harvey (1989),
Forecasting, Structural Time Series Models and the Kalman Filter, https://doi.org/10.1017/CBO9781107049994. How much of
each there is, is not decided but weighed; then the future is drawn often, until the limit. docs/statistics.md tells it
step by step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, fsum, inf, log, sqrt
from random import Random
from statistics import NormalDist

# Share of the intervals that hold the moment: 10 % come before `earliest`, 10 % after `latest`.
NOMINAL = 0.8
# Futures drawn. Between the 10th and the 90th of 99 lie 80 of 100 further ones, and it takes some milliseconds.
DRAWS = 99
# A week has shown its weekend and its cleanup; with four days intervals hold in 26 to 98 % (benchmarks/foresight.py).
MINIMUM_DAYS = 7
# So many changes from day to day, or sums over several days, say how they differ.
MINIMUM_CHANGES = 3
# Share of the futures that must grow: what is told of growth that may be none is wrong too often.
GROWING = 0.95
# No single day may carry more of the growth than this, or take as much back.
SINGLE_CHANGE = 0.5
# Beyond so many times the recorded length there is no middle, beyond so many no latest.
MIDDLE_AT_MOST = 3.0
LATEST_AT_MOST = 10.0
# A profile is taken from at least so many cycles, if it would come by chance as seldom as this.
MINIMUM_CYCLES = 3
PROFILE_SIGNIFICANCE = 0.01
# The likelihood reads so many values at most, evenly spaced (it takes time, and neighbours say much the same).
MOST_POINTS = 168
# The grid: noise fades to 1/e in so many hours, but at most this share of the recorded length (what fades more slowly
# cannot be told from wandering); and of what is new in each hour, a share wanders.
FADING_HOURS = (0.0, 2.0, 6.0, 15.0)
LONGEST_FADING = 1 / 16
WANDERING = (0.0, 0.03, 0.1, 0.3)
ALL_WANDERING = 0.9999
# Prior shares: of a pure random walk, and of no wandering among the others. Calibrated: benchmarks/foresight.py.
WALK_PRIOR = 0.5
STEADY_PRIOR = 0.7
# Sums of the errors over so many days show what the model missed; worth so many days is the belief that it is nothing.
SPANS_DAYS = (1, 2, 4, 8)
BELIEF_DAYS = 10.0
# A step of a drawn future is free of the limit by so many deviations, or so short a part of what is uncertain of it.
CLEAR = 3.5
RESOLUTION = 0.1
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Filling:
    """When a quantity that grows reaches its limit, told from its own history.

    `growth_per_day` is in the unit of the values. The seconds count from the last recorded value to the first hour
    at the limit; `latest_seconds` is None where it lies beyond LATEST_AT_MOST times the history.
    """

    growth_per_day: float
    earliest_seconds: float
    middle_seconds: float
    latest_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Fit:
    """One point of the grid: variances per step in units of square / freedom, and what the values say under it."""

    fading: float
    wandering: float
    spread: float
    growth: float
    level: float
    square: float
    freedom: int
    information: tuple[float, float, float]
    carried: tuple[float, float, float]
    doubt: float
    weight: float


@dataclass(frozen=True, slots=True)
class _Future:
    """Where a future starts and what moves it, per step: deviations `wander` and `spread`, correlation `fading`."""

    level: float
    noise: float
    rate: float
    wander: float
    spread: float
    fading: float


def time_to_full(used: Sequence[float | None], step_seconds: float, limit: float) -> Filling | None:
    """When `used` (evenly spaced, as hourly; finite, oldest first, None where unknown) first reaches `limit`.

    None where the history does not support an answer: recorded too little, full already, growth that cannot be told
    from the variation, came with one day or ceased, or a middle beyond MIDDLE_AT_MOST times the history.

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
    if not _grows_throughout(level[::-day]):
        return None
    futures = _futures(level, day, cycles)
    times = _passages(futures, profile, (limit - known[-1]) / scale, LATEST_AT_MOST * len(values))
    return _filling([f.rate * scale * day for f in futures], times, len(values), step_seconds)


def _filling(growths: list[float], times: list[float], length: int, step_seconds: float) -> Filling | None:
    """The quantiles of the futures, unless they are too many that shrink or too far away."""
    growths, times = sorted(growths), sorted(times)
    tail = round((DRAWS + 1) * (1 - NOMINAL) / 2)
    earliest, middle, latest = times[tail - 1], times[DRAWS // 2], times[DRAWS - tail]
    if growths[int((1 - GROWING) * DRAWS)] <= 0 or middle > MIDDLE_AT_MOST * length:
        return None
    seconds = None if latest == inf else latest * step_seconds
    return Filling(growths[DRAWS // 2], earliest * step_seconds, middle * step_seconds, seconds)


def _grows_throughout(days: Sequence[float | None]) -> bool:
    """Whether the values of each day's last hour, newest first, grow, still do, and by no single day's change."""
    known = [v for v in days if v is not None]
    changes = [new - old for new, old in pairwise(known)]
    if len(changes) < MINIMUM_CHANGES:
        return False
    grown = known[0] - known[-1]
    most = max(abs(change) for change in changes)
    return grown > 0 and most <= SINGLE_CHANGE * grown and known[0] >= known[len(known) // 3]


def _profile(values: Sequence[float | None], day: int) -> tuple[list[float], float]:
    """How the hours of the week, or else of the day, differ, the last value's hour last; and from how many cycles.

    [0.0] and infinity where they do not differ beyond chance.
    """
    for period in (7 * day, day):
        rows = list(_cycles(values, period))
        columns = [[v for v in column if v is not None] for column in zip(*rows, strict=True)]
        if len(rows) >= MINIMUM_CYCLES and all(columns) and _by_chance(columns, len(rows)) < PROFILE_SIGNIFICANCE:
            return [fsum(column) / len(column) for column in columns], len(rows)
    return [0.0], inf


def _cycles(values: Sequence[float | None], period: int) -> Iterator[list[float | None]]:
    """Whole cycles from the end, less the common slope and each its own mean; those recorded to three quarters."""
    steps = [b - a for a, b in zip(values, values[period:], strict=False) if a is not None and b is not None]
    slope = fsum(steps) / max(len(steps), 1) / period
    for end in range(len(values), period - 1, -period):
        flat = [None if v is None else v - slope * i for i, v in enumerate(values[end - period : end])]
        known = [v for v in flat if v is not None]
        if len(known) >= 0.75 * period:
            mean = fsum(known) / len(known)
            yield [None if v is None else v - mean for v in flat]


def _by_chance(columns: Sequence[Sequence[float]], cycles: int) -> float:
    """p-value that hours differ so much from cycle to cycle alone: an F test, https://en.wikipedia.org/wiki/F-test

    Hours in a row are not independent. A cycle of a random walk has about two degrees of freedom, and at two the
    distribution of F has a closed form.
    """
    means = [fsum(column) / len(column) for column in columns]
    within = fsum((v - mean) ** 2 for column, mean in zip(columns, means, strict=True) for v in column)
    freedom = sum(map(len, columns)) - len(columns)
    between = cycles * fsum(mean * mean for mean in means) / len(means)
    ratio = between / max(within / max(freedom, 1), 1e-12)
    return (1 + ratio / (cycles - 1)) ** (1 - cycles)


def _futures(level: Sequence[float | None], day: int, cycles: float) -> list[_Future]:
    """Starts of futures as probable as the values make them; always the same for the same values."""
    stride, end = ceil(len(level) / MOST_POINTS), len(level) - 1
    points = [(i - end, v) for i, v in enumerate(level) if v is not None and (end - i) % stride == 0]
    lost = cycles / (cycles - 1) if cycles < inf else 1.0
    fits = [_fit(points, fading, wandering, prior, lost)[0] for fading, wandering, prior in _grid(points, day)]
    best = max(fits, key=lambda fit: fit.weight)
    missed = _missed(_fit(points, best.fading, best.wandering, 1.0, lost)[1], day)
    random = Random(0)
    weights = [exp(fit.weight - best.weight) for fit in fits]
    return [_future(random, fit, missed, points[-1][1]) for fit in random.choices(fits, weights, k=DRAWS)]


def _grid(points: Sequence[tuple[int, float]], day: int) -> Iterator[tuple[float, float, float]]:
    """Correlation of the noise after a step, share that wanders, prior share of this pair."""
    longest = LONGEST_FADING * (points[-1][0] - points[0][0])
    times = [steps for hours in FADING_HOURS if (steps := hours * day / 24) <= longest]
    yield 0.0, ALL_WANDERING, WALK_PRIOR
    for steps in times:
        for wandering in WANDERING:
            share = (1 - STEADY_PRIOR) / (len(WANDERING) - 1) if wandering else STEADY_PRIOR
            yield exp(-1 / steps) if steps else 0.0, wandering, (1 - WALK_PRIOR) / len(times) * share


def _fit(
    points: Sequence[tuple[int, float]], fading: float, wandering: float, prior: float, lost: float
) -> tuple[_Fit, list[tuple[int, float]]]:
    """Generalized least squares of level (at step 0) and growth by a Kalman filter; and the standardized errors.

    The restricted likelihood is Harville's (1977), https://doi.org/10.1080/01621459.1977.10480998. `lost` makes up
    for what the profile has taken out of the variance.
    """
    step, value = points[0]
    spread = (1 - wandering) / (1 - fading * fading)
    # The level that wandered, for the values, for a constant and for a line; its variance.
    of_value = of_one = of_line = doubt = 0.0
    rows = [(step, value, 1.0, float(step), spread)]
    for now, new in points[1:]:
        kept = fading ** (now - step)
        gone, wandered = 1 - kept, wandering * (now - step)
        variance = doubt * gone * gone + wandered + spread * (1 - kept * kept)
        gain = (doubt * gone + wandered) / variance
        doubt += wandered - gain * gain * variance
        row = new - of_value - kept * (value - of_value), (1 - of_one) * gone, now - of_line - kept * (step - of_line)
        of_value, of_one, of_line = of_value + gain * row[0], of_one + gain * row[1], of_line + gain * row[2]
        rows.append((now, *row, variance))
        step, value = now, new
    return _solved(rows, (fading, wandering, spread, prior, lost), (of_value, of_one, of_line), doubt)


def _solved(
    rows: Sequence[tuple[int, float, float, float, float]],
    setting: tuple[float, float, float, float, float],
    carried: tuple[float, float, float],
    doubt: float,
) -> tuple[_Fit, list[tuple[int, float]]]:
    """The fit from rows of step, filtered value, constant and line, and their variance."""
    fading, wandering, spread, prior, lost = setting
    one = sum([o * o / f for _, _, o, _, f in rows])
    both = sum([o * t / f for _, _, o, t, f in rows])
    line = sum([t * t / f for _, _, _, t, f in rows])
    y_one = sum([y * o / f for _, y, o, _, f in rows])
    y_line = sum([y * t / f for _, y, _, t, f in rows])
    determinant = one * line - both * both
    level = (line * y_one - both * y_line) / determinant
    growth = (one * y_line - both * y_one) / determinant
    errors = [(step, (y - level * o - growth * t) / sqrt(f)) for step, y, o, t, f in rows]
    # A straight line leaves rounding alone.
    square = lost * max(sum([e * e for _, e in errors]), 1e-18 * len(rows))
    freedom = len(rows) - 2
    logs = sum([log(f) for *_, f in rows]) + log(determinant) + freedom * log(square)
    information = one, both, determinant
    weight = log(prior) - logs / 2
    fit = _Fit(fading, wandering, spread, growth, level, square, freedom, information, carried, doubt, weight)
    return fit, errors


def _missed(errors: Sequence[tuple[int, float]], day: int) -> tuple[float, float]:
    """By how much the variance of the level grows faster over days than the model knows, at least 1; and from how
    many degrees of freedom that is known (infinite: nothing is missed).

    A variance ratio, Lo & MacKinlay (1988), https://doi.org/10.1093/rfs/1.1.41, drawn towards 1 as a few days make
    it doubtful, but the less the plainer it is.
    """
    square = fsum(e * e for _, e in errors) / len(errors)
    worst = 1.0, inf
    for days in SPANS_DAYS if square else ():
        sums: dict[int, float] = {}
        for step, error in errors:
            span = -step // (days * day)
            sums[span] = sums.get(span, 0.0) + error
        ratio = fsum(s * s for s in sums.values()) / len(errors) / square
        if ratio > 1 and len(sums) >= MINIMUM_CHANGES:
            belief = BELIEF_DAYS / ratio**2
            known = belief + len(sums)
            worst = max(worst, ((belief + len(sums) * ratio) / known, known))
    return worst


def _future(random: Random, fit: _Fit, missed: tuple[float, float], last: float) -> _Future:
    """One draw of variances, growth and level from what the values say of them."""
    one, both, determinant = fit.information
    of_value, of_one, of_line = fit.carried
    sigma = sqrt(fit.square / random.gammavariate(fit.freedom / 2, 2))
    ratio, freedom = missed
    slow = sigma * sqrt(ratio * (freedom / random.gammavariate(freedom / 2, 2) if freedom < inf else 1.0))
    rate = fit.growth + slow * sqrt(one / determinant) * random.gauss(0, 1)
    start = fit.level - both / one * (rate - fit.growth) + slow / sqrt(one) * random.gauss(0, 1)
    level = start + of_value - start * of_one - rate * of_line + sigma * sqrt(fit.doubt) * random.gauss(0, 1)
    return _Future(level, last - level, rate, slow * sqrt(fit.wandering), sigma * sqrt(fit.spread), fit.fading)


def _passages(futures: Sequence[_Future], profile: Sequence[float], limit: float, longest: float) -> list[float]:
    random = Random(1)
    return [_passage(random, future, profile, limit, longest) for future in futures]


def _passage(random: Random, future: _Future, profile: Sequence[float], limit: float, longest: float) -> float:
    """Steps until level, noise and profile together first reach the limit; infinity beyond the longest."""
    level, noise, rate, wander, spread, fading = (
        future.level,
        future.noise,
        future.rate,
        future.wander,
        future.spread,
        future.fading,
    )
    highest, time = max(profile), 0
    while time < longest:
        clear = limit - level - CLEAR * spread - max(noise, 0.0)
        # Shrinking so far below, it comes back with a chance of exp(-24).
        if rate < 0 and (clear - highest) * -rate > 12 * wander * wander:
            return inf
        steps, tries = _free_steps(future, clear - highest, longest), 1.0
        if steps <= 1 and len(profile) > 1:
            steps = _to_higher_hour(future, clear, profile, time)
        elif steps <= 1:
            steps = _short_steps(future, time)
            tries = max(steps * (1 - fading), 1.0)
        level += rate * steps + wander * sqrt(steps) * random.gauss(0, 1)
        if tries > 1:  # the highest of so many independent
            noise = spread * NORMAL.inv_cdf(random.random() ** (1 / tries))
        else:
            kept = fading**steps
            noise = kept * noise + spread * sqrt(1 - kept * kept) * random.gauss(0, 1)
        time += steps
        if level + noise + profile[(time - 1) % len(profile)] >= limit:
            return time
    return inf


def _free_steps(future: _Future, clear: float, longest: float) -> int:
    """Steps in which rate and wandering will not bridge what is clear, by CLEAR deviations; 0 for none."""
    if clear <= 0:
        return 0
    reach = CLEAR * future.wander
    if future.rate > 0:
        root = (sqrt(reach * reach + 4 * future.rate * clear) - reach) / (2 * future.rate)
    else:
        root = clear / reach if reach else inf
    return int(min(root * root, longest))


def _to_higher_hour(future: _Future, clear: float, profile: Sequence[float], time: int) -> int:
    """Steps to the next hour, within a day, whose profile could reach the limit within that day."""
    low = clear - max(future.rate, 0.0) * 24 - CLEAR * future.wander * 5
    steps = 1
    while steps < 24 and profile[(time + steps - 1) % len(profile)] < low:
        steps += 1
    return steps


def _short_steps(future: _Future, time: int) -> int:
    """A few steps at once, where the moment is uncertain by many."""
    uncertain = (future.wander * sqrt(time) + future.spread) / max(abs(future.rate), 1e-12)
    return max(1, int(min(time / 20, RESOLUTION * uncertain)))
