"""A year of one metric, by the days of the local calendar."""

from collections.abc import Sequence

from service import clock
from service.answers.answer import Answer, metric_named, rounded
from service.answers.moments import Date
from service.clock import HOUR
from service.store.reader import View

WEEKS = 53


class Day(Answer, frozen=True):
    """`average`: weighted by the recorded time; None, as the maximum, where nothing was recorded."""

    date: Date
    average: float | None
    maximum: float | None
    covered_seconds: float


class Calendar(Answer, frozen=True):
    """Whole weeks from a Monday on, the last up to today."""

    metric: str
    unit: str
    days: list[Day]


def calendar(view: View, name: str, now: int, zone: clock.Zone) -> Calendar:
    """From the hours of WEEKS weeks; an hour belongs to the day in which it begins.

    :raises BadParameter: if there is no such metric.
    """
    metric = metric_named(name)
    noons = clock.noons(now, zone, WEEKS)
    start = (noons[0] - 13 * HOUR) // HOUR * HOUR
    hours = view.buckets(start, now + 1, HOUR, [metric], HOUR)
    found: dict[str, list[_Hour]] = {}
    columns = zip(hours.averages(name), hours.weights(name), hours.maxima(name), strict=True)
    for number, (average, weight, maximum) in enumerate(columns):
        if average is not None:
            day = clock.day_label(start + number * HOUR, zone)
            found.setdefault(day, []).append((average, weight, maximum))
    days = [_day(noon, found.get(clock.day_label(noon, zone), [])) for noon in noons]
    return Calendar(metric=name, unit=metric.shown_unit, days=days)


# Average, seconds recorded, maximum.
_Hour = tuple[float, float, float | None]


def _day(noon: int, hours: Sequence[_Hour]) -> Day:
    seconds = sum(weight for _, weight, _ in hours)
    maxima = [maximum for *_, maximum in hours if maximum is not None]
    return Day(
        date=Date(noon),
        average=rounded(sum(average * weight for average, weight, _ in hours) / seconds) if seconds else None,
        maximum=max(maxima, default=None),
        covered_seconds=seconds,
    )
