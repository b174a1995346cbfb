"""How often words and forecasts are right on recorded load: `python benchmarks/real.py --traces DIR`.

DIR holds `server-*.csv.gz` (minute, cpu, memory), `vm-*.csv.gz` (unix_seconds, cpu_percent, disk_written_kb_per_s) and
`growth-*.csv.gz` (unix_seconds, bytes), as docs/statistics.md describes them. Nothing is tuned here: each machine is
judged by the thresholds of the code, and stands in a row of its own, so that a machine on which these were not chosen
can be read apart.
"""

import argparse
import cmath
import csv
import gzip
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from service.analysis.trend import middle, trend

MINUTES_A_WEEK = 7 * 24 * 60
LEAST = {"cpu": 5.0, "memory": 2.0}
SURROGATE_MINUTES = 2**15
# Slower than this is removed from a surrogate, so that no hour of it has a trend.
SLOWEST_MINUTES = 180
JOB_POINTS = 20.0


def columns(path: Path) -> dict[str, list[float]]:
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


def traces(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, list[float]]]]:
    for path in sorted(folder.glob(f"{kind}-*.csv.gz")):
        yield path.name.removesuffix(".csv.gz"), columns(path)


# -- trend words


Judged = tuple[int, str, str]


def words(minutes: Sequence[float], least: float) -> Iterator[Judged]:
    """Each hour from the second week on: the minute at which it ends, the word of its means alone, and the word."""
    middles = [middle(minutes[at : at + 20]) for at in range(0, len(minutes), 10)]
    shifts = [abs((b or 0) - (a or 0)) for a, b in zip(middles, middles[4:], strict=False)]
    for end in range(MINUTES_A_WEEK + 60, len(minutes) - 60, 60):
        hour = minutes[end - 60 : end]
        # Hours that begin in the week before, and have ended.
        usual = shifts[(end - MINUTES_A_WEEK) // 10 : (end - 60) // 10 + 1]
        yield end, trend(hour, 60, least).word, trend(hour, 60, least, usual).word


def direction(word: str) -> int:
    return {"increasing": 1, "decreasing": -1}.get(word, 0)


def share(hits: int, count: int) -> str:
    return f"{hits / count:6.1%}" if count else "     –"


class Count:
    """Of hours: how many changed and stayed changed, of how many that was found, how many words went on."""

    def __init__(self) -> None:
        self.hours = self.lasting = self.found = self.words = self.right = 0

    def add(self, minutes: Sequence[float], end: int, way: int, lasting: float) -> None:
        first, last = median(minutes[end - 60 : end - 40]), median(minutes[end - 20 : end])
        later = median(minutes[end : end + 60]) - first
        change = last - first
        is_lasting = abs(change) >= lasting and later * math.copysign(1, change) >= lasting
        self.hours += 1
        self.lasting += is_lasting
        self.found += is_lasting and way * change > 0
        self.words += way != 0
        self.right += way != 0 and way * later >= abs(change) / 2

    def __str__(self) -> str:
        return (
            f"{self.lasting:5} {share(self.found, self.lasting)} {share(self.words, self.hours)} "
            f"{share(self.right, self.words)}"
        )


def real_words(folder: Path) -> None:
    """A change lasts where the median of the hour after still lies at least that far off the first third; a word is
    right where it still lies half the change off."""
    head = f"{'lasting':>8} {'found':>6} {'words':>6} {'right':>6}"
    print(f"{'trend words':24} {'test alone':>26}{'':4} {'with the week':>26}\n{'':24}{head}   {head}")
    for metric, lasting in (("cpu", 10.0), ("memory", 10.0), ("memory", 4.0)):
        total = (Count(), Count())
        for name, trace in traces(folder, "server"):
            one = (Count(), Count())
            for end, *both in words(trace[metric], LEAST[metric]):
                for count, word in zip((*one, *total), (*both, *both), strict=True):
                    count.add(trace[metric], end, direction(word), lasting)
            print(f"{f'{metric} {lasting:g} {name}':24} {one[0]}    {one[1]}", flush=True)
        print(f"{f'{metric} {lasting:g} all':24} {total[0]}    {total[1]}", flush=True)


def fourier(values: Sequence[complex], sign: int) -> list[complex]:
    """The discrete Fourier transform of 2 ** n values, not scaled: Cooley & Tukey (1965)."""
    count = len(values)
    if count == 1:
        return list(values)
    even, odd = fourier(values[::2], sign), fourier(values[1::2], sign)
    turned = [cmath.rect(1, sign * 2 * math.pi * k / count) * v for k, v in enumerate(odd)]
    return [a + b for a, b in zip(even, turned, strict=True)] + [a - b for a, b in zip(even, turned, strict=True)]


def surrogate(values: Sequence[float], random: Random, rounds: int = 12) -> list[float]:
    """Values of the same distribution and spectrum in which nothing is slower than SLOWEST_MINUTES: IAAFT, Schreiber &
    Schmitz (1996), https://doi.org/10.1103/PhysRevLett.77.635."""
    count, mean = len(values), sum(values) / len(values)
    spectrum = fourier([complex(v - mean) for v in values], -1)
    kept = [0j if min(k, count - k) < count / SLOWEST_MINUTES else v for k, v in enumerate(spectrum)]
    fast = [v.real / count for v in fourier(kept, 1)]
    ordered, sizes = sorted(fast), [abs(v) for v in kept]
    found = random.sample(fast, count)
    for _ in range(rounds):
        phases = fourier([complex(v) for v in found], -1)
        shaped = fourier([size * v / (abs(v) or 1) for size, v in zip(sizes, phases, strict=True)], 1)
        order = sorted(range(count), key=lambda k: shaped[k].real)
        for place, k in enumerate(order):
            found[k] = ordered[place]
    return [v + mean for v in found]


def false_words(folder: Path) -> None:
    """Every word on a surrogate is false; and so beside a job that runs every few minutes all the time."""
    jobs = {"alone": 0, "a job every 2nd minute": 2, "every 5th": 5}
    print(f"\n{'false on surrogates':24}" + "".join(f"{name:>26}" for name in jobs) + "   (test alone, with the week)")
    shares: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for name, trace in traces(folder, "server"):
        random = Random(name)
        quiet = surrogate(trace["cpu"][:SURROGATE_MINUTES], random)
        for job, every in jobs.items():
            load = [v + JOB_POINTS * (every > 0 and i % max(every, 1) == 0) for i, v in enumerate(quiet)]
            found = list(words(load, LEAST["cpu"]))
            alone, both = (sum(word[at] != "stable" for word in found) / len(found) for at in (1, 2))
            shares[job].append((alone, both))
        print(
            f"{name:24}" + "".join(f"{a:18.1%} {b:6.1%}" + " " for a, b in (s[-1] for s in shares.values())), flush=True
        )
    for label, of in (("mean", lambda v: sum(v) / len(v)), ("worst", max)):
        print(
            f"{label:24}"
            + "".join(f"{of([a for a, _ in s]):18.1%} {of([b for _, b in s]):6.1%} " for s in shares.values())
        )


PARTS: dict[str, Callable[[Path], None]] = {"words": real_words, "surrogates": false_words}


def chosen(parts: Iterable[str], folder: Path) -> None:
    for part in parts:
        PARTS[part](folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True, help="the folder of the traces")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="; all without")
    arguments = parser.parse_args()
    chosen(arguments.parts or PARTS, arguments.traces)


if __name__ == "__main__":
    main()
