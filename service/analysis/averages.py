"""Weighted mean and percentile over arrays; pure.

Values are finite floats in one unit, oldest first; None stands where nothing was recorded.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import fsum


def weighted_mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Mean of the recorded values by weight >= 0 (as covered seconds); None when no weight remains.

    :raises ValueError: if values and weights differ in length
    """
    pairs = _weighted(values, weights)
    if not pairs:
        return None
    mean = fsum(value * weight for value, weight in pairs) / fsum(weight for _, weight in pairs)
    # Rounding may carry the quotient an ulp outside of what was seen.
    return min(max(mean, min(pairs)[0]), max(pairs)[0])


def percentile(values: Sequence[float | None], weights: Sequence[float], fraction: float) -> float | None:
    """The smallest value at which the cumulative weight reaches `fraction` of the whole (nearest rank, no
    interpolation: the answer is a value that was measured); None when no weight remains.

    https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method

    :raises ValueError: if fraction is outside 0..1, or values and weights differ in length
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie in 0..1, not {fraction}")
    pairs = sorted(_weighted(values, weights))
    if not pairs:
        return None
    reached = list(accumulate(weight for _, weight in pairs))
    # 0.07 * 100 is a little above 7: without the tolerance the answer would be the eighth value.
    return pairs[bisect_left(reached, (fraction - 1e-12) * reached[-1])][0]


def _weighted(values: Sequence[float | None], weights: Sequence[float]) -> list[tuple[float, float]]:
    return [(v, w) for v, w in zip(values, weights, strict=True) if v is not None and w > 0]
