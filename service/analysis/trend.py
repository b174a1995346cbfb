"""Whether bucket means rise or fall beyond chance; pure.

Values are finite floats in one unit, oldest first; None stands where nothing was recorded.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from math import asin, erfc, fsum, pi, sqrt
from operator import mul
from statistics import median
from typing import Literal

MINIMUM_BUCKETS = 10
SIGNIFICANCE = 0.05
# Two-sided 5 % point of the normal distribution: which autocorrelations Hamed & Rao (1998) call significant.
SIGNIFICANT_Z = 1.959964
# Persistence is assumed to be this, divided by the buckets, above its estimate (near 1 the estimate errs by as much).
# Calibrated: 4 % false words for AR(1) noise of phi 0.95 over 60 buckets, never much over 5 % from 10 to 240.
PERSISTENCE_MARGIN = 12
# A job every few minutes hides from one minute to the next how persistent the rest is; so lags up to this share of the
# buckets are asked as well. Without a history only what chance hardly gives (white noise must not look
# persistent); with one at SIGNIFICANT_Z: what the test then misses is found among the host's own hours.
PERSISTENCE_LAGS_SHARE = 1 / 6
LAG_Z = 3.4

# What an hour usually shifts by is known from at least two days, of shifts that are ten minutes apart.
MINIMUM_SHIFTS = 288
# A shift is a word where fewer than this share of the host's own hours shifted as far; the test's word stands where so
# few did, or where its p-value leaves no doubt. Calibrated: benchmarks/real.py.
RARE_SHARE = 0.035
SUPPORTED_SHARE = 0.10
CERTAIN = 0.004
# Of a third, or of its last half, so much must be recorded.
RECORDED_SHARE = 1 / 5

TrendWord = Literal["increasing", "decreasing", "stable", "unknown"]


@dataclass(frozen=True, slots=True)
class Trend:
    """A word (`increasing`, `decreasing`, `stable`, `unknown`) and its numbers, None when unknown."""

    word: TrendWord
    change_per_hour: float | None
    p_value: float | None


def trend(
    means: Sequence[float | None],
    step_seconds: float,
    minimum_change: float,
    usual_shifts: Sequence[float] = (),
) -> Trend:
    """Which way evenly spaced bucket means go over their window of len(means) * step_seconds.

    By a test of the means alone; where at least MINIMUM_SHIFTS of the host's own `usual_shifts` (of windows as long,
    as `shift` gives them) are known, by how rare its shift is among them as well. `change_per_hour` and `p_value` are
    those of what decided.
    """
    if len(usual_shifts) < MINIMUM_SHIFTS:
        return _tested(means, step_seconds, minimum_change, LAG_Z)
    tested = _tested(means, step_seconds, minimum_change, SIGNIFICANT_Z)
    return tested if tested.word == "unknown" else _compared(tested, means, step_seconds, minimum_change, usual_shifts)


def shift(means: Sequence[float | None]) -> float | None:
    """Median of the last third less that of the first; None where too little of one is recorded."""
    third = len(means) // 3
    first, last = middle(means[:third]), middle(means[len(means) - third :])
    return None if first is None or last is None else last - first


def middle(means: Sequence[float | None]) -> float | None:
    """Their median; None where less than RECORDED_SHARE of them is recorded."""
    known = [mean for mean in means if mean is not None]
    return median(known) if known and len(known) >= RECORDED_SHARE * len(means) else None


def _compared(
    tested: Trend, means: Sequence[float | None], step_seconds: float, least: float, usual_shifts: Sequence[float]
) -> Trend:
    """What the test says, and what the shift says among the usual ones."""
    shifted = shift(means) or 0.0
    rare = sum(abs(usual) >= abs(shifted) for usual in usual_shifts) / len(usual_shifts)
    p_value = tested.p_value or 0.0
    if tested.word != "stable" and p_value >= CERTAIN:
        is_same = (shifted > 0) == (tested.word == "increasing")
        if not is_same or rare > SUPPORTED_SHARE:
            tested = Trend("stable", tested.change_per_hour, max(p_value, rare))
    if tested.word != "stable" or rare > RARE_SHARE or not _lasts(means, shifted, least):
        return tested
    # What is reported is what decided: that the window shifted by so much, and how seldom one does.
    per_hour = shifted * 3600 / (step_seconds * len(means))
    return Trend("increasing" if shifted > 0 else "decreasing", per_hour, rare)


def _lasts(means: Sequence[float | None], shifted: float, least: float) -> bool:
    """Whether the last sixth is off as well: a rise that is over before the window ends is none."""
    third = len(means) // 3
    first, last = middle(means[:third]), middle(means[len(means) - third // 2 :])
    if first is None or last is None or abs(shifted) < least:
        return False
    return (last - first if shifted > 0 else first - last) >= least


def _tested(means: Sequence[float | None], step_seconds: float, minimum_change: float, lag_z: float) -> Trend:
    """The word of the means alone.

    Theil-Sen slope (Sen 1968, https://doi.org/10.2307/2285891); a word other than `stable` needs p < 0.05 and
    a change over the window of at least `minimum_change` (unit of the means). `unknown` with fewer than
    MINIMUM_BUCKETS recorded. p is the larger of two: Mann-Kendall corrected for autocorrelation after
    Hamed & Rao (1998), which alone calls up to half of all persistent noise a trend (benchmarks/honesty.py),
    and a test under the highest persistence that the buckets allow. So p is too high rather than too low.
    """
    recorded = [(position, mean) for position, mean in enumerate(means) if mean is not None]
    if len(recorded) < MINIMUM_BUCKETS:
        return Trend("unknown", None, None)
    positions, values = [p for p, _ in recorded], [v for _, v in recorded]
    slope, score = slope_and_score(positions, values)
    p_value = max(p_values(positions, values, slope, score, lag_z))
    change = slope * len(means)
    word: TrendWord = "stable"
    if change and p_value < SIGNIFICANCE and abs(change) >= minimum_change:
        word = "increasing" if change > 0 else "decreasing"
    return Trend(word, slope * 3600 / step_seconds, p_value)


def slope_and_score(positions: Sequence[int], values: Sequence[float]) -> tuple[float, int]:
    """Median of the slopes of all pairs (Sen 1968), and Mann-Kendall's S: rising pairs less falling ones (Mann 1945,
    https://doi.org/10.2307/1907187)."""
    points = list(zip(positions, values, strict=True))
    slopes = sorted((v - value) / (p - position) for (position, value), (p, v) in combinations(points, 2))
    return median(slopes), len(slopes) - bisect_right(slopes, 0.0) - bisect_left(slopes, 0.0)


def p_values(
    positions: Sequence[int], values: Sequence[float], slope: float, score: int, lag_z: float = LAG_Z
) -> tuple[float, float]:
    """Two-sided p-values after Hamed & Rao and under the highest likely persistence; both 1.0 for a constant series.

    `lag_z`: from how many standard errors on a correlation of a lag above 1 counts.
    """
    spread = max(values) - min(values)
    if not spread:
        return 1.0, 1.0
    residuals = [value - slope * position for position, value in zip(positions, values, strict=True)]
    # What is equal but for rounding must tie: a straight line has no autocorrelation.
    correlations = _autocorrelations(_ranks([round(r / spread, 9) for r in residuals]))
    z = max(abs(score) - 1, 0) / sqrt(score_variance(values))
    persistence = _highest_persistence(correlations, len(positions), lag_z)
    return _hamed_rao(z, correlations), _worst_case(z, positions, residuals, slope, persistence)


def _hamed_rao(z: float, correlations: Sequence[float]) -> float:
    """Mann-Kendall p-value, the variance inflated by the significant autocorrelations of the detrended ranks.

    Hamed & Rao (1998), https://doi.org/10.1016/S0022-1694(97)00125-X; unlike there never deflated.
    """
    limit = SIGNIFICANT_Z / sqrt(len(correlations) + 1)
    return _two_sided(z / sqrt(_inflation([r if abs(r) > limit else 0.0 for r in correlations])))


def _worst_case(
    z: float,
    positions: Sequence[int],
    residuals: Sequence[float],
    slope: float,
    persistence: float,
) -> float:
    """The smaller p-value of two tests under AR(1) noise of the highest likely persistence.

    Bursts do not sway ranks, but ranks saturate: S cannot exceed n(n-1)/2 however clear a drift in smooth noise is.
    The slope against its standard error does not saturate, but bursts hide a drift from it. So either is enough.
    """
    # Rank correlation of two normal variables: https://en.wikipedia.org/wiki/Spearman's_rank_correlation_coefficient
    assumed = [6 / pi * asin(persistence**lag / 2) for lag in range(1, len(positions))]
    by_ranks = _two_sided(z / sqrt(_inflation(assumed)))
    return min(by_ranks, _slope_p_value(positions, residuals, slope, persistence))


def _highest_persistence(correlations: Sequence[float], count: int, lag_z: float) -> float:
    """Upper bound of the AR(1) coefficient: bias removed, margin added, held in 0..1 (1: a random walk).

    Of lag k, r ** (1 / k), beyond `lag_z` standard errors, and of lag 1. Around a fitted line the estimate is short by
    (2 + 4 phi) / n: van Giersbergen (2005), https://doi.org/10.1016/j.econlet.2005.05.001, as in Hamed (2009),
    https://doi.org/10.1016/j.jhydrol.2009.01.040.
    """
    lags = max(1, int(count * PERSISTENCE_LAGS_SHARE))
    unbiased = [(r + 2 / count) / (1 - 4 / count) for r in correlations[:lags]]
    limit = lag_z / sqrt(count)
    likely: list[float] = [r ** (1 / lag) for lag, r in enumerate(unbiased, 1) if r > limit]
    return min(max(max([unbiased[0], *likely]) + PERSISTENCE_MARGIN / count, 0.0), 1.0)


def _slope_p_value(positions: Sequence[int], residuals: Sequence[float], slope: float, persistence: float) -> float:
    """p-value of slope / its standard error under AR(1) noise, from the size of the innovations.

    Student's t is carried to the normal by Abramowitz & Stegun 26.7.8.
    """
    freedom = len(residuals) - 3
    centre = fsum(residuals) / len(residuals)
    innovations = [(b - centre) - persistence * (a - centre) for a, b in pairwise(residuals)]
    variance = fsum(e * e for e in innovations) / freedom * slope_variance(positions, persistence)
    if not variance:
        return 0.0 if slope else 1.0
    t_squared = slope * slope / variance
    return _two_sided(sqrt(t_squared / (1 + t_squared / (2 * freedom))) * (1 - 1 / (4 * freedom)))


def slope_variance(positions: Sequence[int], persistence: float) -> float:
    """Variance of the least-squares slope under AR(1) noise with innovations of variance 1.

    The slope is a weighted sum of the noise, so the weight of an innovation is what all later buckets carry of it.
    """
    centre = fsum(positions) / len(positions)
    square = fsum((p - centre) ** 2 for p in positions)
    weights = ((p - centre) / square for p in reversed(positions))
    *later, first = accumulate(weights, lambda carried, weight: weight + persistence * carried)
    # The first bucket holds the whole past of variance 1 / (1 - phi^2); at phi = 1 its weight is zero.
    return fsum(w * w for w in later) + first * first / max(1 - persistence**2, 1e-9)


def score_variance(values: Sequence[float]) -> float:
    """Variance of Mann-Kendall's S for independent values, with ties: Kendall (1975), Rank Correlation Methods."""
    counts: dict[float, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    n = len(values)
    ties = sum(t * (t - 1) * (2 * t + 5) for t in counts.values())
    return (n * (n - 1) * (2 * n + 5) - ties) / 18


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks about their mean; equal values share the mean of their ranks."""
    ordered = sorted(values)
    return [(bisect_left(ordered, v) + bisect_right(ordered, v) - len(ordered)) / 2 for v in values]


def _autocorrelations(centred: Sequence[float]) -> list[float]:
    """Of lags 1 to n - 1; zeros for a constant. Gaps are closed: neighbours are the next recorded buckets."""
    square = sum(map(mul, centred, centred)) or 1.0
    return [sum(map(mul, centred, centred[lag:])) / square for lag in range(1, len(centred))]


def _inflation(correlations: Sequence[float]) -> float:
    """How much correlations of lags 1 to n - 1 inflate the variance of S, at least 1: Hamed & Rao (1998)."""
    n = len(correlations) + 1
    total = fsum((n - k) * (n - k - 1) * (n - k - 2) * r for k, r in enumerate(correlations, 1))
    return max(1 + 2 * total / (n * (n - 1) * (n - 2)), 1.0)


def _two_sided(z: float) -> float:
    return erfc(z / sqrt(2))
