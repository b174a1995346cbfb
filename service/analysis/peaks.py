"""Which bucket means stand out; pure.

Values are finite floats in one unit, oldest first; None stands where nothing was recorded.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

# A peak's least prominence: this many standard deviations of the bucket-to-bucket difference, and this share
# of the range. Calibrated: white noise shows a second peak in fewer than one in ten windows of 48 buckets.
PEAK_DEVIATIONS = 3.0
PEAK_RANGE_SHARE = 0.25


def peaks(
    means: Sequence[float | None], count: int = 3, distance: int = 2, minimum_prominence: float = 0.0
) -> list[int]:
    """Indices of the bucket means that stand out, in time order.

    The highest, then the highest of the other local maxima with enough prominence, up to `count`, each at
    least `distance` buckets from a higher one; empty only when nothing is recorded. Gaps are closed: a bucket
    is compared with the next recorded ones, so that a lone bucket in a gap is no peak by itself. A plateau
    counts by its first bucket. The ends of the window are no peaks, unless highest: nobody knows what lies beyond.
    `minimum_prominence` (unit of the means) is a floor under the threshold.

    :raises ValueError: if count or distance is below 1
    """
    if count < 1 or distance < 1:
        raise ValueError(f"count and distance must be at least 1, not {count} and {distance}")
    recorded = [(index, mean) for index, mean in enumerate(means) if mean is not None]
    chosen: list[int] = []
    for place in _standing_out([mean for _, mean in recorded], minimum_prominence):
        index = recorded[place][0]
        if len(chosen) < count and all(abs(index - other) >= distance for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def _standing_out(heights: Sequence[float], minimum_prominence: float) -> list[int]:
    """The highest place, then the maxima of enough prominence, highest first."""
    if not heights:
        return []
    least = max(minimum_prominence, _noise_prominence(heights))
    standing = [i for i in local_maxima(heights) if prominence(heights, i) >= least]
    return [heights.index(max(heights)), *sorted(standing, key=lambda i: -heights[i])]


def _noise_prominence(heights: Sequence[float]) -> float:
    """The prominence that noise alone may reach.

    The deviation is 1.4826 times the median absolute difference, which the few large steps of real peaks do not sway:
    https://en.wikipedia.org/wiki/Median_absolute_deviation
    """
    steps = [abs(b - a) for a, b in pairwise(heights)]
    deviation = 1.4826 * median(steps or [0.0])
    return max(PEAK_DEVIATIONS * deviation, PEAK_RANGE_SHARE * (max(heights) - min(heights)))


def local_maxima(heights: Sequence[float]) -> list[int]:
    """Places from which it falls after a rise; of a plateau the first.

    The left edges of https://docs.scipy.org/doc/scipy/reference/generated/scipy.signal.find_peaks.html
    """
    maxima, risen_at = [], None
    for place, (before, here) in enumerate(pairwise(heights), 1):
        if here > before:
            risen_at = place
        elif here < before and risen_at is not None:
            maxima.append(risen_at)
            risen_at = None
    return maxima


def prominence(heights: Sequence[float], place: int) -> float:
    """How far one must descend from here to reach higher ground, or the end of the window.

    https://docs.scipy.org/doc/scipy/reference/generated/scipy.signal.peak_prominences.html
    """
    return heights[place] - max(_lowest(heights[place::-1]), _lowest(heights[place:]))


def standing(means: Sequence[float | None], index: int) -> float | None:
    """The prominence of a recorded bucket among the recorded ones; None where it is alone. At an end of the window only
    the side that is known counts: a load that is high now stands out from what was before."""
    recorded = [mean for mean in means if mean is not None]
    place = sum(mean is not None for mean in means[:index])
    sides = [side for side in (recorded[place::-1], recorded[place:]) if len(side) > 1]
    return recorded[place] - max(map(_lowest, sides)) if sides else None


def _lowest(path: Sequence[float]) -> float:
    """Lowest height on the way from path[0] up to where it is first surpassed."""
    lowest = path[0]
    for height in path:
        if height > path[0]:
            break
        lowest = min(lowest, height)
    return lowest
