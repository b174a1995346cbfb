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
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.foresight import LEAST_DIFFERENCE
from service.analysis.changes import LEAST_SCORE, score
from service.analysis.forecast import Filling, learnt, time_to_full, widened
from service.analysis.trend import middle, trend
from service.analysis.unusual import unusual, usual

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


# -- unusual hours

# Hours into which so many points more are put, one at a time.
INJECTED_POINTS = (20.0, 30.0, 50.0)
INJECTED_HOURS = 20
MOST_DAYS = 28


def hourly(trace: dict[str, list[float]]) -> list[float | None]:
    """CPU by the hour, of rows that have a minute or unix seconds."""
    stamps = [60 * minute for minute in trace["minute"]] if "minute" in trace else trace["unix_seconds"]
    values = trace["cpu"] if "cpu" in trace else trace["cpu_percent"]
    by_hour: dict[int, list[float]] = {}
    for ts, value in zip(stamps, values, strict=True):
        by_hour.setdefault(int(ts) // 3600, []).append(value)
    found = (by_hour.get(hour) for hour in range(min(by_hour), max(by_hour) + 1))
    return [sum(same) / len(same) if same else None for same in found]


def is_unlike(hours: Sequence[float | None], at: int, value: float) -> bool:
    """Whether the hour is unlike those of the days before, as insights would find with `value` in it."""
    start = max(0, at - MOST_DAYS * 24)
    known = usual(hours[start:at], [hour % 24 for hour in range(start, at)])
    return unusual(value, at % 24, known, LEAST_DIFFERENCE) is not None


def real_hours(folder: Path) -> None:
    """Nobody has labelled these: days with an unusual hour are an upper bound of the false ones."""
    heads = "".join(f"{f'+{points:g}':>8}" for points in INJECTED_POINTS)
    print(f"\n{'unusual hours':24} {'weeks':>6} {'days found':>11} {'a week':>7}   found of injected: {heads}")
    for kind in ("server", "vm"):
        days, weeks, tried, hits = 0, 0.0, 0, [0] * len(INJECTED_POINTS)
        for name, trace in traces(folder, kind):
            hours, random = hourly(trace), Random(name)
            later = range(7 * 24, len(hours))
            days += len({at // 24 for at in later if (v := hours[at]) is not None and is_unlike(hours, at, v)})
            weeks += len(later) / 168
            for at in random.sample(later[7 * 24 :], INJECTED_HOURS):
                value = hours[at]
                tried += value is not None
                for number, points in enumerate(INJECTED_POINTS):
                    hits[number] += value is not None and is_unlike(hours, at, min(100.0, value + points))
        shares = "".join(f"{share(hit, tried):>8}" for hit in hits)
        print(f"{kind:24} {weeks:6.1f} {days:11} {days / weeks:7.3f}{'':22}{shares}", flush=True)


# -- forecasts

AHEAD_DAYS = (1, 3, 7, 14, 30)
LEARN_HOURS = 30 * 24
LEARNS_FROM_DAYS = 7


def grown(trace: dict[str, list[float]]) -> list[float]:
    """Bytes at the end of each hour; of a VM what it has written so far."""
    stamps = [int(ts) // 3600 for ts in trace["unix_seconds"]]
    values = trace["bytes"] if "bytes" in trace else list(accumulate(v * 300e3 for v in trace["disk_written_kb_per_s"]))
    last = dict(zip(stamps, values, strict=True))
    level = values[0]
    return [level := last.get(hour, level) for hour in range(stamps[0], stamps[-1] + 1)]


@dataclass(frozen=True)
class Foretold:
    """A forecast: made at an hour, of so many days of growth, by itself; and when the level was reached, in seconds."""

    made: int
    days: int
    filling: Filling
    reached: float


def foretold(levels: Sequence[float], made: int) -> Iterator[Foretold]:
    history = levels[max(0, made - LEARN_HOURS) : made]
    one = time_to_full(history, 3600, history[-1] + max(1.0, (history[-1] - history[0]) / len(history) * 24))
    for days in AHEAD_DAYS if one else ():
        assert one is not None
        limit = history[-1] + days * one.growth_per_day
        filling, at = time_to_full(history, 3600, limit), bisect_left(levels, limit, lo=made)
        # A level that may come after the trace ends says nothing.
        if filling and (filling.latest_seconds or math.inf) * 2 < (len(levels) - made) * 3600:
            yield Foretold(made, days, filling, 3600 * (at - made + 1) if at < len(levels) else math.inf)


def holds(filling: Filling, seconds: float) -> int:
    """0: within; -1: it came earlier; 1: later."""
    return -1 if seconds < filling.earliest_seconds else int(seconds > (filling.latest_seconds or math.inf))


def real_growth(folder: Path) -> None:
    """By itself, and widened by the factor that the forecasts of seven days before it have taught, each made only after
    the one before was due."""
    print(
        f"\n{'forecasts':24} {'ahead':>6} {'count':>6}   {'by itself, early, late':>26}   {'widened, early, late':>26}"
    )
    sources = [(name, trace, 7 * 24) for name, trace in traces(folder, "growth")]
    sources += [("vm", trace, 24) for _, trace in traces(folder, "vm")]
    tally: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for name, trace, step in sources:
        levels = grown(trace)
        held: list[tuple[int, bool]] = []
        for made in range(10 * 24, len(levels), step):
            factor = learnt([was_held for due, was_held in held if due <= made])
            for told in foretold(levels, made):
                wide = widened(told.filling, factor)
                both = holds(told.filling, told.reached), holds(wide, told.reached)
                tally.setdefault((name, told.days), []).append(both)
                if told.days == LEARNS_FROM_DAYS and (not held or held[-1][0] <= made):
                    held.append((made + int((wide.latest_seconds or 0) / 3600), both[1] == 0))
    for (name, days), results in sorted(tally.items()):
        columns_ = [
            " ".join(f"{sum(r[at] == way for r in results) / len(results):8.1%}" for way in (0, -1, 1)) for at in (0, 1)
        ]
        print(f"{name:24} {days:6} {len(results):6}   {columns_[0]}   {columns_[1]}", flush=True)


def real_changes(folder: Path) -> None:
    """Of the hours from the third week on, in how many `changes` names anything of the trace's metrics, against the
    hour, day and week before: as the answer does it, from hourly means. A load is in hundredths of its greatest."""
    print(f"\n{'hours in which a change is named':34} {'hours':>6} {'1 h':>7} {'1 d':>7} {'7 d':>7}")
    for kind in ("server", "vm"):
        for name, trace in traces(folder, kind):
            series = hourly_means(trace)
            hours = min(len(means) for means, _ in series)
            rates = []
            for lag in (1, 24, 7 * 24):
                named = [
                    any(changed(means, least, hour, lag) for means, least in series) for hour in range(14 * 24, hours)
                ]
                rates.append(f"{sum(named) / len(named):7.1%}")
            print(f"{name:34} {hours - 14 * 24:6} {' '.join(rates)}", flush=True)


def hourly_means(trace: dict[str, list[float]]) -> list[tuple[list[float], float]]:
    """(means of the hours, least change) of each metric."""
    rows = 60 if "minute" in trace else 12
    values = {"cpu": trace.get("cpu") or trace["cpu_percent"], "memory": trace.get("memory") or shares(trace)}
    chosen_ = [(values[name], least) for name, least in LEAST.items()]
    chosen_ += [(trace["load_1"], 5.0)] if "load_1" in trace else []
    if "disk_written_kb_per_s" in trace:
        chosen_.append(([1000 * kb for kb in trace["disk_written_kb_per_s"]], 1e5))
    return [
        ([sum(row[at : at + rows]) / rows for at in range(0, len(row) - rows + 1, rows)], least)
        for row, least in chosen_
    ]


def shares(trace: dict[str, list[float]]) -> list[float]:
    most = max(trace["memory_used_kb"]) or 1.0
    return [100 * kb / most for kb in trace["memory_used_kb"]]


def changed(means: Sequence[float], least: float, hour: int, lag: int) -> bool:
    usual = [means[at] - means[at - lag] for at in range(max(lag, hour - 7 * 24), hour)]
    return (score(means[hour] - means[hour - lag], usual, least) or 0.0) >= LEAST_SCORE


PARTS: dict[str, Callable[[Path], None]] = {
    "words": real_words,
    "surrogates": false_words,
    "hours": real_hours,
    "growth": real_growth,
    "changes": real_changes,
}


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
