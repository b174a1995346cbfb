"""How far a change is beyond what is usual: the change of a mean between two windows against such changes before."""

import math
from collections.abc import Sequence
from statistics import median

# Of fewer changes before, nothing is said.
LEAST_CHANGES = 20
# The score from which a change is named.
LEAST_SCORE = 5.0
# Standard deviation of a normal distribution whose median absolute deviation is 1 (Rousseeuw & Croux 1993,
# doi.org/10.1080/01621459.1993.10476408).
_DEVIATIONS_OF_MAD = 1.4826
# One of so many changes may be an incident: as many of the largest do not count as usual.
_ONE_OF = 80
# What is named is so many times the largest that counts as usual among so many changes: loads have longer tails than
# the normal distribution. Among fewer it is more, as the largest of n grows with log(n) where tails are exponential.
_BEYOND_LARGEST, _OF_CHANGES = 2.0, 168


def score(change: float, usual: Sequence[float], least: float) -> float | None:
    """By how many spreads a change differs from the middle of those before; None where these are too few.

    The spread is the largest of three: the scaled median absolute deviation of `usual` from its median; the largest
    deviation but one in 80, so that a score of LEAST_SCORE is twice that, or more where there are few (a rhythm of the
    day is usual, one incident of the week is not); and such that a change of `least` from what never changes has
    LEAST_SCORE.

    `least`: the smallest change that is worth a word, in the unit of the change; a smaller one scores 0.
    """
    if len(usual) < LEAST_CHANGES:
        return None
    if abs(change) < least:
        return 0.0
    middle = median(usual)
    deviations = sorted((abs(one - middle) for one in usual), reverse=True)
    beyond = _BEYOND_LARGEST * max(1.0, math.log(_OF_CHANGES) / math.log(len(usual)))
    spread = max(
        _DEVIATIONS_OF_MAD * median(deviations),
        deviations[len(usual) // _ONE_OF] * beyond / LEAST_SCORE,
        least / LEAST_SCORE,
    )
    return abs(change - middle) / spread
