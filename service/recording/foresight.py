"""When file systems will be full: forecast each hour, and watched until it is known whether the forecast held."""

from service.analysis import forecast
from service.clock import DAY, HOUR
from service.records import Forecast
from service.store import filesystems
from service.store.filesystems import Course
from service.store.statements import Statements

# Every hour one level is forecast that is so many days of growth away, in turn: it comes due soon and is scored.
NEAR_DAYS = (1, 3, 7)
# The interval learns from forecasts of the last months that reached beyond where it is widened.
LEARN_SECONDS = 180 * DAY
LEAST_SECONDS = int(forecast.WIDER_BEYOND_DAYS * DAY)


def foresee(statements: Statements, after: int, now: int) -> int | None:
    """Forecast the next file system by number after `after`, and watch what became of its earlier forecasts.

    :returns: its number; None where there is no other.
    """
    course = filesystems.course(statements, after, now)
    if course is None:
        return None
    filesystems.watch(statements, course.mount_id, now)
    factor = forecast.learnt(filesystems.held(statements, course.mount_id, now - LEARN_SECONDS, now, LEAST_SECONDS))
    for made in forecasts(course, factor):
        filesystems.insert_forecast(statements, course.mount_id, made)
    return course.mount_id


def forecasts(course: Course, factor: float = 1.0) -> list[Forecast]:
    """When the file system is full; and when it holds the growth of one of NEAR_DAYS more than now, which can soon be
    scored. `factor`: how much wider than by itself the interval is, as learnt.

    Empty where its history supports no forecast.
    """
    filling = forecast.time_to_full(course.used, HOUR, course.full_bytes)
    if filling is None:
        return []
    last = next(used for used in reversed(course.used) if used is not None)
    near_level = last + filling.growth_per_day * NEAR_DAYS[course.last_ts // HOUR % len(NEAR_DAYS)]
    near = forecast.time_to_full(course.used, HOUR, near_level) if near_level <= course.full_bytes else None
    full = forecast.widened(filling, factor)
    made = [_forecast(course, full, float(course.full_bytes), is_full=True)]
    if near is None:
        return made
    return [*made, _forecast(course, forecast.widened(near, factor), near_level, is_full=False)]


def _forecast(course: Course, filling: forecast.Filling, level: float, is_full: bool) -> Forecast:
    return Forecast(
        made=course.last_ts,
        mount=course.path,
        is_full=is_full,
        level_bytes=int(level),
        growth_bytes_per_day=int(filling.growth_per_day),
        earliest=course.last_ts + round(filling.earliest_seconds),
        middle=course.last_ts + round(filling.middle_seconds),
        latest=None if filling.latest_seconds is None else course.last_ts + round(filling.latest_seconds),
    )
