"""How often forecasts hold, and how often a peak or an unusual hour is false: `python benchmarks/foresight.py`.

Forecasts: each trial is a history that grows by 1 a day, and its future by the same process. The limit lies `ahead`
days of growth above the highest value of the last day. `given` is how often there is an interval at all; of those,
`held` is how often the limit is first reached within it (the bar: 80 %, within 5 points), and `width` is the median in
days. Peaks and hours: sigma in points of a percentage. Each row and case has its own seed.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import honesty
from benchmarks.honesty import Load, ar1, bursts, lossy, skewed, total, walk, wilson
from service.analysis.forecast import Filling, time_to_full
from service.analysis.recurrence import daily_peak
from service.analysis.unusual import unusual, usual

# Days of history, days to the limit.
CASES = ((7, 1), (7, 7), (14, 3), (14, 14), (30, 3), (30, 30))
LEAST_HEIGHT = 10.0
LEAST_DIFFERENCE = 15.0


def hours_of(load: Load, count: int, random: Random) -> list[float | None]:
    """That many hours of a load of honesty.py, which itself counts in minutes."""
    with mock.patch.object(honesty, "MINUTES", count):
        return load(random)


def by_hour(height: Callable[[int], float], period: int) -> Load:
    """A load that depends only on the hour of the day or week; it begins at a random one."""

    def load(random: Random) -> list[float | None]:
        phase = random.randrange(period)
        return [height((hour + phase) % period) for hour in range(honesty.MINUTES)]

    return load


def summed(load: Load) -> Load:
    """The running sum of a load."""

    def grown(random: Random) -> list[float | None]:
        value = 0.0
        return [value := value + (v or 0) for v in load(random)]

    return grown


def steady() -> Load:
    return lambda _: [hour / 24 for hour in range(honesty.MINUTES)]


def wandering(daily: float) -> Load:
    """A random walk with this deviation after a day."""
    return walk(daily / math.sqrt(24))


def pieces(a_day: float) -> Load:
    """Grows by 1 a day in pieces of random size (exponential), so many a day."""
    return summed(
        lambda random: [
            random.expovariate(a_day) if random.random() < a_day / 24 else 0.0 for _ in range(honesty.MINUTES)
        ]
    )


def nightly(height: float) -> Load:
    """A job that fills `height` from 1 to 5 and gives it back."""
    return by_hour(lambda hour: height * hour / 4 if hour <= 4 else 0.0, 24)


def backups(deviation: float) -> Load:
    """Grows once a day by about 1."""

    def load(random: Random) -> list[float | None]:
        phase = random.randrange(24)
        return [random.gauss(1, deviation) if (h + phase) % 24 == 2 else 0.0 for h in range(honesty.MINUTES)]

    return summed(load)


def cleaned() -> Load:
    """Grows by 2.5 a day; once a week 60 % of that is deleted."""
    return summed(by_hour(lambda hour: 2.5 / 24 - (10.5 if hour == 0 else 0), 168))


def workdays() -> Load:
    """Grows from 9 to 17 on five days of seven, each hour by another amount."""

    def load(random: Random) -> list[float | None]:
        phase = random.randrange(168)
        at_work = [(h + phase) % 168 < 120 and 9 <= (h + phase) % 24 < 17 for h in range(honesty.MINUTES)]
        return [random.gauss(7 / 40, 0.1) if works else 0.0 for works in at_work]

    return summed(load)


def moods(phi: float) -> Load:
    """The growth of a day depends on that of the day before: AR(1) about 1, deviation 0.5."""

    def load(random: Random) -> list[float | None]:
        days = hours_of(ar1(phi, 0.5), honesty.MINUTES // 24 + 1, random)
        return [(1 + (days[hour // 24] or 0)) / 24 for hour in range(honesty.MINUTES)]

    return summed(load)


def growing() -> Iterator[tuple[str, Load]]:
    yield "steady + white sigma 0.5", total(steady(), ar1(0, 0.5))
    yield "steady + white sigma 2", total(steady(), ar1(0, 2))
    yield "steady + white sigma 0.5, 20 % missing", lossy(total(steady(), ar1(0, 0.5)), 0.2)
    yield "walk 0.3 a day", total(steady(), wandering(0.3))
    yield "walk 1 a day", total(steady(), wandering(1))
    yield "walk 2 a day", total(steady(), wandering(2))
    yield "walk 0.5 a day + white sigma 0.5", total(steady(), wandering(0.5), ar1(0, 0.5))
    yield "walk 0.5 a day + AR(1) phi 0.9 sigma 0.5", total(steady(), wandering(0.5), ar1(0.9, 0.5))
    yield "pieces, 24 a day", pieces(24)
    yield "pieces, 4 a day", pieces(4)
    yield "pieces, 1 a day", pieces(1)
    yield "nightly job of 1 + walk 0.3 a day", total(steady(), nightly(1), wandering(0.3))
    yield "nightly job of 5 + walk 0.5 a day", total(steady(), nightly(5), wandering(0.5))
    yield "daily backups, deviation 0.3", backups(0.3)
    yield "daily backups, deviation 1, + white sigma 0.1", total(backups(1), ar1(0, 0.1))
    yield "weekly cleanup + walk 0.5 a day", total(cleaned(), wandering(0.5))


def beyond() -> Iterator[tuple[str, Load]]:
    """Loads for which the interval is known to be too wide or too narrow."""
    yield "steady + AR(1) phi 0.9 sigma 0.5", total(steady(), ar1(0.9, 0.5))
    yield "steady + AR(1) phi 0.95 sigma 1", total(steady(), ar1(0.95, 1))
    yield "steady + AR(1) phi 0.98 sigma 1", total(steady(), ar1(0.98, 1))
    yield "working hours of workdays", workdays()
    yield "growth persistent by 0.5 from day to day", moods(0.5)
    yield "growth persistent by 0.8 from day to day", moods(0.8)


def not_growing() -> Iterator[tuple[str, Load]]:
    yield "white sigma 1", ar1(0, 1)
    yield "AR(1) phi 0.98 sigma 1", ar1(0.98, 1)
    yield "walk 1 a day, no drift", wandering(1)
    yield "nightly job of 5 + white sigma 0.2", total(nightly(5), ar1(0, 0.2))
    yield (
        "all that a week brings is cleaned + white",
        total(summed(by_hour(lambda h: 2 / 24 - 14 * (h == 0), 168)), ar1(0, 0.2)),
    )
    yield (
        "one step of 10 + white sigma 0.2",
        total(lambda _: [10.0 * (2 * h > 96) for h in range(honesty.MINUTES)], ar1(0, 0.2)),
    )


def forecast(load: Load, days: int, ahead: float, random: Random) -> tuple[Filling, float] | None:
    """The interval, and the true seconds (infinite: not within the future drawn); None without a forecast."""
    hours = days * 24
    values = hours_of(load, hours + 24 * 14 + int(240 * ahead), random)
    limit = max(v for v in values[hours - 24 : hours] if v is not None) + ahead
    filling = time_to_full(values[:hours], 3600, limit)
    last = max(hour for hour in range(hours) if values[hour] is not None)
    full = (hour - last for hour in range(hours, len(values)) if (values[hour] or -math.inf) >= limit)
    return (filling, 3600 * next(full, math.inf)) if filling else None


def holds(filling: Filling, seconds: float) -> bool:
    return filling.earliest_seconds <= seconds <= (filling.latest_seconds or math.inf)


def width_days(filling: Filling) -> float:
    return ((filling.latest_seconds or math.inf) - filling.earliest_seconds) / 86400


def forecasts(trials: int) -> None:
    print(f"{'forecasts':46} {'days':>4} {'ahead':>5} {'given':>6} {'held':>7}  {'95 % interval':15}  {'bar':9}  width")
    for bar, loads in (("75 - 85 %", growing()), ("", beyond()), ("none given", not_growing())):
        for name, load in loads:
            for days, ahead in CASES:
                random = Random(f"{name} {days} {ahead}")
                given = [f for _ in range(trials) if (f := forecast(load, days, ahead, random))]
                row = f"{name:46} {days:4} {ahead:5} {len(given) / trials:6.0%}"
                if given:
                    held = sum(holds(filling, seconds) for filling, seconds in given)
                    low, high = wilson(held, len(given))
                    width = median(width_days(filling) for filling, _ in given)
                    row += f" {held / len(given):7.1%}  {low:6.1%} - {high:6.1%}  {bar:9}  {width:5.2f}"
                print(row, flush=True)


def idle_hours() -> Iterator[tuple[str, Load]]:
    """Loads that do not depend on the hour of the day."""
    for phi in (0.0, 0.5, 0.7, 0.9, 0.95, 0.99):
        yield f"AR(1) phi {phi} sigma 10" if phi else "white sigma 10", ar1(phi, 10)
    yield "exp AR(1) phi 0.9", skewed(0.9)
    yield "exp AR(1) phi 0.95", skewed(0.95)
    yield "bursts in 5 % of hours + white sigma 2", total(bursts(0.05, 40, 1), ar1(0, 2))
    yield "bursts in 20 % of hours + white sigma 2", total(bursts(0.2, 40, 1), ar1(0, 2))
    yield "bursts of 3 hours + white sigma 2", total(bursts(0.02, 30, 3), ar1(0, 2))
    yield "random walk 3 an hour", walk(3)
    yield "9 hours once a week, 30 + white sigma 5", total(by_hour(lambda hour: 30 * (hour < 9), 168), ar1(0, 5))
    yield "workdays, 30 + AR(1) phi 0.7 sigma 5", total(by_hour(lambda hour: 30 * (hour < 120), 168), ar1(0.7, 5))


def job(share: float) -> Load:
    """20 points in hour 2 of this share of days."""
    return lambda random: [20.0 * (h % 24 == 2 and random.random() < share) for h in range(honesty.MINUTES)]


def with_a_job() -> Iterator[tuple[str, Load]]:
    for name, load in {
        "white sigma 2": ar1(0, 2),
        "white sigma 5": ar1(0, 5),
        "AR(1) phi 0.9 sigma 5": ar1(0.9, 5),
        "AR(1) phi 0.95 sigma 10": ar1(0.95, 10),
        "random walk 1 an hour": walk(1),
    }.items():
        yield f"job on 12 of 14 days + {name}", total(job(12 / 14), load)


def with_a_hidden_job() -> Iterator[tuple[str, Load]]:
    yield "job on 12 of 14 days + AR(1) phi 0.9 sigma 10", total(job(12 / 14), ar1(0.9, 10))
    yield "job on 12 of 14 days + random walk 3 an hour", total(job(12 / 14), walk(3))
    yield "job on 12 of 14 days + bursts in 5 % of hours", total(job(12 / 14), bursts(0.05, 40, 1), ar1(0, 2))


def peaks(trials: int) -> None:
    print(f"\n{'daily peaks':46} {'days':>4} {'found':>7}  {'95 % interval':15}  bar")
    for bar, hour, loads in (("< 1 %", None, idle_hours()), (">= 95 %", 2, with_a_job()), ("", 2, with_a_hidden_job())):
        for name, load in loads:
            for days in (8, 14, 30):
                random = Random(f"{name} {days}")
                found = [
                    daily_peak(hours_of(load, days * 24, random), 0, LEAST_HEIGHT if hour else 1) for _ in range(trials)
                ]
                hits = sum(peak is not None and hour in (None, peak.hour) for peak in found)
                low, high = wilson(hits, trials)
                wanted = bar if days > 8 or not hour else ""
                print(
                    f"{name:46} {days:4} {hits / trials:7.2%}  {low:6.2%} - {high:6.2%}  {wanted}",
                    flush=True,
                )


def usual_hours() -> Iterator[tuple[str, Load]]:
    yield from idle_hours()
    yield "workdays 40 higher + white sigma 3", total(by_hour(lambda hour: 40 * (hour < 120), 168), ar1(0, 3))
    yield "daily 40 + AR(1) phi 0.7 sigma 5", total(by_hour(lambda hour: 40 * (8 <= hour < 18), 24), ar1(0.7, 5))


def event(sigma: float, low: float = 20.0) -> Load:
    """40 more than `low` in the last hour."""
    return total(lambda _: [low] * (honesty.MINUTES - 1) + [low + 40], ar1(0, sigma))


def events() -> Iterator[tuple[str, Load]]:
    for sigma in (1, 2, 3, 5):
        yield f"40 more + white sigma {sigma}", event(sigma)


def drowned_events() -> Iterator[tuple[str, Load]]:
    yield "40 more + white sigma 10", event(10)
    yield "40 more + bursts in 5 % of hours", total(event(2), bursts(0.05, 40, 1))


def is_unusual(hours: list[float | None]) -> bool:
    """Whether the last hour is, by what the days before its own say."""
    places = [hour % 24 for hour in range(len(hours))]
    known = usual(hours[:-24], places[:-24])
    return unusual(hours[-1] or 0.0, places[-1], known, LEAST_DIFFERENCE) is not None


def unlike(trials: int) -> None:
    print(f"\n{'unusual hours':46} {'days':>4} {'found':>7}  {'95 % interval':15}  bar")
    for bar, loads in (("< 0.1 %", usual_hours()), (">= 95 %", events()), ("", drowned_events())):
        for name, load in loads:
            for days in (7, 14, 28):
                random = Random(f"{name} {days}")
                count = 4 * trials
                hits = sum(is_unusual(hours_of(load, days * 24 + 24, random)) for _ in range(count))
                low, high = wilson(hits, count)
                wanted = bar if days > 7 else ""
                print(f"{name:46} {days:4} {hits / count:7.3%}  {low:6.3%} - {high:6.3%}  {wanted}", flush=True)


PARTS = {"hours": unlike, "peaks": peaks, "forecasts": forecasts}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=500, help="for each row and case (500: about half an hour)")
    parser.add_argument("parts", nargs="*", help="hours, peaks, forecasts; all without")
    arguments = parser.parse_args()
    for part in arguments.parts or PARTS:
        PARTS[part](arguments.trials)


if __name__ == "__main__":
    main()
