"""When file systems will be full: made each hour, and watched until it is known whether it held."""

from service.analysis import forecast
from service.clock import HOUR
from service.records import Forecast
from service.store import filesystems
from service.store.filesystems import Course
from service.store.statements import Statements


def foresee(statements: Statements, after: int, now: int) -> int | None:
    """Foretell the next file system by number after `after`, and see what became of what was told of it before.

    :returns: its number; None where there is no other.
    """
    course = filesystems.course(statements, after, now)
    if course is None:
        return None
    filesystems.watch(statements, course.mount_id, now)
    for told in forecasts(course):
        filesystems.insert_forecast(statements, course.mount_id, told)
    return course.mount_id


def forecasts(course: Course) -> list[Forecast]:
    """When the file system is full, and when one day's growth more is used, which soon shows how good that was.

    Empty where its history supports no forecast.
    """
    filling = forecast.time_to_full(course.used, HOUR, course.full_bytes)
    if filling is None:
        return []
    last = next(used for used in reversed(course.used) if used is not None)
    levels = {True: float(course.full_bytes), False: last + filling.growth_per_day}
    told = []
    for is_full, level in levels.items():
        found = filling if is_full else forecast.time_to_full(course.used, HOUR, level)
        if found is not None and level <= course.full_bytes:
            latest = None if found.latest_seconds is None else course.last_ts + round(found.latest_seconds)
            told.append(
                Forecast(
                    *(course.last_ts, course.path, is_full, int(level), int(found.growth_per_day)),
                    *(course.last_ts + round(found.earliest_seconds), course.last_ts + round(found.middle_seconds)),
                    latest,
                )
            )
    return told
