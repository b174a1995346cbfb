"""How often the trend word is false and how often it finds a drift: `python benchmarks/honesty.py [--trials N]`.

Each trial is an hour of 60 one-minute means, judged with the least change of the CPU (5 points). On stationary load
every word but `stable` is false; on a drift of 10 points over the hour `increasing` is right. Memory and disk differ
only in their least change: read a sigma here as a share of it. Each row has its own seed.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from service.analysis.trend import SIGNIFICANCE, p_values, slope_and_score, trend

MINUTES = 60
MINIMUM_CHANGE = 5.0
Load = Callable[[Random], list[float | None]]


def ar1(phi: float, sigma: float) -> Load:
    """Stationary AR(1) noise; sigma is the marginal standard deviation in points."""

    def load(random: Random) -> list[float | None]:
        values = [random.gauss(0, sigma)]
        for _ in range(MINUTES - 1):
            values.append(phi * values[-1] + random.gauss(0, sigma * math.sqrt(1 - phi * phi)))
        return list(values)

    return load


def skewed(phi: float) -> Load:
    """Mostly idle, at times busy: the exponential of AR(1) noise."""
    return lambda random: [10 * math.exp(v or 0) for v in ar1(phi, 1)(random)]


def bounded(noise: Load, centre: float) -> Load:
    """Noise about a centre, kept within 0..100 like a percentage."""
    return lambda random: [min(max(centre + (v or 0), 0.0), 100.0) for v in noise(random)]


def bursts(share: float, height: float, minutes: int) -> Load:
    """Bursts of random height that start in this share of minutes and last so many."""

    def load(random: Random) -> list[float | None]:
        values = [0.0] * MINUTES
        for start in range(1 - minutes, MINUTES):
            if random.random() < share:
                burst = random.expovariate(1 / height)
                for minute in range(max(start, 0), min(start + minutes, MINUTES)):
                    values[minute] += burst
        return list(values)

    return load


def daily(amplitude: float, at_most: float) -> Load:
    """An hour of a sine of 24 hours, of those hours that truly change by less than `at_most` points."""

    def load(random: Random) -> list[float | None]:
        while True:
            phase = random.uniform(0, 2 * math.pi)
            value = [amplitude * math.sin(phase + 2 * math.pi * m / 1440) for m in range(MINUTES + 1)]
            if abs(value[-1] - value[0]) < at_most:
                return list(value[:-1])

    return load


def cycle(minutes: float, amplitude: float) -> Load:
    def load(random: Random) -> list[float | None]:
        phase = random.random()
        return [amplitude * math.sin(2 * math.pi * (phase + m / minutes)) for m in range(MINUTES)]

    return load


def walk(step: float) -> Load:
    def load(random: Random) -> list[float | None]:
        value = 0.0
        return [value := value + random.gauss(0, step) for _ in range(MINUTES)]

    return load


def drift(points: float) -> Load:
    return lambda _: [points * minute / MINUTES for minute in range(MINUTES)]


def step(points: float) -> Load:
    return lambda _: [0.0 if minute < MINUTES // 2 else points for minute in range(MINUTES)]


def total(*loads: Load) -> Load:
    return lambda random: [sum(v or 0 for v in values) for values in zip(*(f(random) for f in loads), strict=True)]


def lossy(load: Load, share: float) -> Load:
    """With this share of minutes not recorded."""
    return lambda random: [None if random.random() < share else value for value in load(random)]


def stationary() -> Iterator[tuple[str, Load]]:
    for phi, sigmas in {
        0.0: (1, 5, 20),
        0.3: (5, 20),
        0.5: (5, 20),
        0.7: (2, 5, 20),
        0.9: (1, 2, 5, 20),
    }.items():
        for sigma in sigmas:
            yield f"AR(1) phi {phi} sigma {sigma}" if phi else f"white sigma {sigma}", ar1(phi, sigma)
    for sigma in (1, 2, 5, 10, 20):
        yield f"AR(1) phi 0.95 sigma {sigma}", ar1(0.95, sigma)
    yield "AR(1) phi 0.95 sigma 20 in 0..100", bounded(ar1(0.95, 20), 50)
    yield "AR(1) phi 0.95 sigma 20, 30 % missing", lossy(ar1(0.95, 20), 0.3)
    yield "AR(1) phi 0.95 sigma 20, 75 % missing", lossy(ar1(0.95, 20), 0.75)
    yield "exp AR(1) phi 0.9", skewed(0.9)
    yield "exp AR(1) phi 0.95", skewed(0.95)
    yield "daily 10 + white sigma 2", total(daily(10, MINIMUM_CHANGE), ar1(0, 2))
    yield "daily 10 + AR(1) phi 0.9 sigma 5", total(daily(10, MINIMUM_CHANGE), ar1(0.9, 5))
    yield "daily 20, hours of < 2.5, + white sigma 3", total(daily(20, 2.5), ar1(0, 3))
    yield "daily 20, hours of < 2.5, + AR(1) 0.9 sigma 5", total(daily(20, 2.5), ar1(0.9, 5))
    yield "bursts in 5 % of minutes + white sigma 2", total(bursts(0.05, 40, 1), ar1(0, 2))
    yield "bursts in 20 % of minutes + white sigma 2", total(bursts(0.2, 40, 1), ar1(0, 2))
    yield "bursts of 10 minutes + white sigma 2", total(bursts(0.02, 30, 10), ar1(0, 2))


def beyond() -> Iterator[tuple[str, Load]]:
    """Loads for which the bar was not set; measured so that nobody is surprised."""
    yield "daily 20, hours of < 5, + white sigma 3", total(daily(20, MINIMUM_CHANGE), ar1(0, 3))
    yield "AR(1) 0.95 sigma 10 + white sigma 10", total(ar1(0.95, 10), ar1(0, 10))
    yield "cycle of 60 min, 20 + white sigma 2", total(cycle(60, 20), ar1(0, 2))
    yield "cycle of 90 min, 20 + white sigma 2", total(cycle(90, 20), ar1(0, 2))
    yield "random walk 1 a minute", walk(1)


def drifting() -> Iterator[tuple[str, Load]]:
    """Noise in which a drift of twice the least change should show."""
    for phi, sigma in (
        (0.0, 1),
        (0.0, 3),
        (0.0, 5),
        (0.3, 3),
        (0.5, 2),
        (0.7, 0.5),
        (0.9, 0.5),
        (0.95, 0.5),
        (0.95, 1),
    ):
        yield f"drift 10 + AR(1) phi {phi} sigma {sigma}", total(drift(10), ar1(phi, sigma))
    yield "drift 10 + bursts + white sigma 2", total(drift(10), bursts(0.05, 40, 1), ar1(0, 2))
    yield "drift 10 + white sigma 3, 30 % missing", lossy(total(drift(10), ar1(0, 3)), 0.3)


def drowned() -> Iterator[tuple[str, Load]]:
    """Noise that hides the drift: by its nature, or because the bar on false words costs power."""
    for phi, sigma in ((0.0, 7), (0.5, 3), (0.7, 1), (0.7, 2), (0.9, 1), (0.9, 2), (0.95, 2), (0.95, 20)):
        yield f"drift 10 + AR(1) phi {phi} sigma {sigma}", total(drift(10), ar1(phi, sigma))
    yield "drift 10 + white sigma 3, 75 % missing", lossy(total(drift(10), ar1(0, 3)), 0.75)
    yield "step of 10 + white sigma 1", total(step(10), ar1(0, 1))
    yield "step of 10 + white sigma 3", total(step(10), ar1(0, 3))


def speaks(means: list[float | None]) -> tuple[bool, bool]:
    """Whether the trend has a direction, and whether Hamed & Rao's test alone would give it one."""
    answer = trend(means, 60, MINIMUM_CHANGE)
    if answer.word != "stable" or abs(answer.change_per_hour or 0) < MINIMUM_CHANGE:
        return (answer.word not in ("stable", "unknown"),) * 2
    recorded = [(position, mean) for position, mean in enumerate(means) if mean is not None]
    positions, values = [p for p, _ in recorded], [v for _, v in recorded]
    hamed_rao, _ = p_values(positions, values, *slope_and_score(positions, values))
    return False, hamed_rao < SIGNIFICANCE


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share: https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval"""
    z, share = 1.959964, hits / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (centre - half) / (1 + z * z / trials), (centre + half) / (1 + z * z / trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="hours for each row (2000: about a minute)")
    trials = parser.parse_args().trials
    print(f"{f'{trials} hours each':48} {'words':>7}  {'95 % interval':15}  {'bar':7}  Hamed-Rao alone")
    for bar, loads in (("< 5 %", stationary()), ("", beyond()), (">= 95 %", drifting()), ("", drowned())):
        for name, load in loads:
            random = Random(name)
            spoken = [speaks(load(random)) for _ in range(trials)]
            hits, plain = (sum(column) for column in zip(*spoken, strict=True))
            low, high = wilson(hits, trials)
            print(
                f"{name:48} {hits / trials:7.1%}  {low:6.1%} - {high:6.1%}  {bar:7}  {plain / trials:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
