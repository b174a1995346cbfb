"""Futures of a level that drifts and wanders, and when each of them reaches a limit; pure, seeded.

The model is a level with a drift, a random walk about it, and noise that fades: Harvey (1989), Forecasting, Structural
Time Series Models and the Kalman Filter, https://doi.org/10.1017/CBO9781107049994. How much of the change wanders and
how fast the noise fades is not decided but weighed by likelihood; then futures are drawn in proportion.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, exp, fsum, inf, log, sqrt
from random import Random
from statistics import NormalDist

# Futures drawn. Between the 10th and the 90th of 99 lie 80 of 100 further ones, and it takes some milliseconds.
DRAWS = 99
# With fewer changes from day to day, or sums over several days, nobody knows how much they differ.
MINIMUM_CHANGES = 3
# The likelihood reads so many values at most, evenly spaced (it takes time, and neighbours say much the same).
MOST_POINTS = 168
# The grid: noise fades to 1/e in so many hours, but at most in this share of the recorded length (what fades more
# slowly cannot be distinguished from wandering); and of what is new in each hour, this share wanders.
FADING_HOURS = (0.0, 2.0, 6.0, 15.0)
LONGEST_FADING = 1 / 16
WANDERING = (0.0, 0.03, 0.1, 0.3)
ALL_WANDERING = 0.9999
# Prior shares: of a pure random walk, and of no wandering among the others. Calibrated: benchmarks/foresight.py.
WALK_PRIOR = 0.5
STEADY_PRIOR = 0.7
# Sums of the errors over so many days show what the model missed; the prior belief that it missed nothing weighs as
# much as so many days.
SPANS_DAYS = (1, 2, 4, 8)
BELIEF_DAYS = 10.0
# A future may skip steps in which the limit is this many deviations away, and at the limit takes steps no longer than
# this share of the uncertainty of the moment.
CLEAR = 3.5
RESOLUTION = 0.1
NORMAL = NormalDist()


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
class Future:
    """Where a future starts and what moves it in each step: the drift `rate`, the deviation `wander` of the walk, and
    noise of deviation `spread` whose correlation after a step is `fading`."""

    level: float
    noise: float
    rate: float
    wander: float
    spread: float
    fading: float


def futures(level: Sequence[float | None], day: int, cycles: float) -> list[Future]:
    """DRAWS futures as probable as the values make them; always the same for the same values.

    `level`: one value a step, the last one known, None where unknown; `day`: steps of a day; `cycles`: how many the
    profile was taken from that has been taken off (infinite: none was).
    """
    stride, end = ceil(len(level) / MOST_POINTS), len(level) - 1
    points = [(i - end, v) for i, v in enumerate(level) if v is not None and (end - i) % stride == 0]
    lost = cycles / (cycles - 1) if cycles < inf else 1.0
    fits = [_fit(points, fading, wandering, prior, lost)[0] for fading, wandering, prior in _grid(points, day)]
    best = max(fits, key=lambda fit: fit.weight)
    missed = variance_missed(_fit(points, best.fading, best.wandering, 1.0, lost)[1], day)
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

    The restricted likelihood is Harville's (1977), https://doi.org/10.1080/01621459.1977.10480998. `lost` multiplies
    the variance, because the profile has taken a part of it.
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
    """The fit, from rows of step, filtered value, filtered constant, filtered line, and their variance."""
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


def variance_missed(errors: Sequence[tuple[int, float]], day: int) -> tuple[float, float]:
    """How many times faster than in the model the variance of the level grows over days, at least 1; and from how many
    degrees of freedom that is known (infinite: nothing is missed). `errors`: steps (0 is the last) and errors.

    A variance ratio, Lo & MacKinlay (1988), https://doi.org/10.1093/rfs/1.1.41, drawn towards 1 because a few days
    make it doubtful, and less so the larger it is.
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


def _future(random: Random, fit: _Fit, missed: tuple[float, float], last: float) -> Future:
    """One draw of variances, growth and level from their distribution given the values."""
    one, both, determinant = fit.information
    of_value, of_one, of_line = fit.carried
    sigma = sqrt(fit.square / random.gammavariate(fit.freedom / 2, 2))
    ratio, freedom = missed
    slow = sigma * sqrt(ratio * (freedom / random.gammavariate(freedom / 2, 2) if freedom < inf else 1.0))
    rate = fit.growth + slow * sqrt(one / determinant) * random.gauss(0, 1)
    start = fit.level - both / one * (rate - fit.growth) + slow / sqrt(one) * random.gauss(0, 1)
    level = start + of_value - start * of_one - rate * of_line + sigma * sqrt(fit.doubt) * random.gauss(0, 1)
    return Future(level, last - level, rate, slow * sqrt(fit.wandering), sigma * sqrt(fit.spread), fit.fading)


def passages(drawn: Sequence[Future], profile: Sequence[float], limit: float, longest: float) -> list[float]:
    """Of each future the steps until it first reaches the limit; infinity beyond the longest.

    `profile` repeats on top of the level; its last value belongs to step 0.
    """
    random = Random(1)
    return [_passage(random, future, profile, limit, longest) for future in drawn]


def _passage(random: Random, future: Future, profile: Sequence[float], limit: float, longest: float) -> float:
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


def _free_steps(future: Future, clear: float, longest: float) -> int:
    """Steps in which drift and walk will not cover the distance `clear`, by CLEAR deviations; 0 for none."""
    if clear <= 0:
        return 0
    reach = CLEAR * future.wander
    if future.rate > 0:
        root = (sqrt(reach * reach + 4 * future.rate * clear) - reach) / (2 * future.rate)
    else:
        root = clear / reach if reach else inf
    return int(min(root * root, longest))


def _to_higher_hour(future: Future, clear: float, profile: Sequence[float], time: int) -> int:
    """Steps to the next hour, within a day, whose profile could reach the limit within that day."""
    low = clear - max(future.rate, 0.0) * 24 - CLEAR * future.wander * 5
    steps = 1
    while steps < 24 and profile[(time + steps - 1) % len(profile)] < low:
        steps += 1
    return steps


def _short_steps(future: Future, time: int) -> int:
    """A few steps at once, where the moment is uncertain by many."""
    uncertain = (future.wander * sqrt(time) + future.spread) / max(abs(future.rate), 1e-12)
    return max(1, int(min(time / 20, RESOLUTION * uncertain)))
