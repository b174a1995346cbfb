"""How full file systems were: rows once a minute, thinned to one an hour; what was foretold of them, and the score.

A forecast is kept with its level and its interval, and watched until the level is reached: whether it came within the
interval is what later says how far forecasts can be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.clock import DAY, HOUR
from service.records import Forecast, MountUsage
from service.store.tiers import Execute

# Forecasts learn from this much, by the hour.
LEARN_SECONDS = 30 * DAY
# A file system that was not read for so long is not mounted any more.
_MOUNTED_SECONDS = HOUR
# The rows of so many hours of one mount are thinned at once.
_THIN_HOURS = 24


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one file system: bytes used at the end of each hour, oldest first, None where nothing was
    recorded; `last_ts` is when it was last read, `full_bytes` how much use fills it up."""

    mount_id: int
    path: str
    last_ts: int
    used: list[float | None]
    full_bytes: int


def insert(execute: Execute, ts: int, uses: Sequence[MountUsage], stretch_id: int) -> None:
    """Store one look at the file systems; the same again changes nothing."""
    for use in uses:
        kilobytes = [size // 1024 for size in (use.total_bytes, use.used_bytes, use.available_bytes)]
        execute(
            "INSERT INTO filesystem (mount_id, ts, stretch_id, total_kb, used_kb, available_kb) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (_mount_id(execute, use.path), ts, stretch_id, *kilobytes),
        )


def _mount_id(execute: Execute, path: str) -> int:
    known = execute("SELECT mount_id FROM mount WHERE path = ?", (path,))
    return int((known or execute("INSERT INTO mount (path) VALUES (?) RETURNING mount_id", (path,)))[0][0])


def prune(execute: Execute, minutes_before: int, hours_before: int) -> bool:
    """One bounded step: before `minutes_before` keep the first row of each hour, before `hours_before` none.

    :returns: whether there is more to do.
    """
    begin = execute("SELECT thinned_until FROM use_progress", ())[0][0]
    minutes_before = minutes_before // HOUR * HOUR
    mounts = [mount_id for (mount_id,) in execute("SELECT mount_id FROM mount", ())]
    firsts = [execute("SELECT MIN(ts) FROM filesystem WHERE mount_id = ? AND ts >= ?", (m, begin)) for m in mounts]
    start = min((row[0][0] for row in firsts if row[0][0] is not None), default=minutes_before) // HOUR * HOUR
    end = min(minutes_before, max(start, begin) + _THIN_HOURS * HOUR)
    for mount_id in mounts:
        _thin(execute, mount_id, start, end)
        execute("DELETE FROM filesystem WHERE mount_id = ? AND ts < ?", (mount_id, hours_before))
        execute("DELETE FROM forecast WHERE mount_id = ? AND made_ts < ?", (mount_id, hours_before))
    if end > begin:
        execute("UPDATE use_progress SET thinned_until = ?", (end,))
    return bool(begin < end < minutes_before)


def _thin(execute: Execute, mount_id: int, start: int, end: int) -> None:
    window = {"mount": mount_id, "start": start, "end": end}
    execute(
        "DELETE FROM filesystem WHERE mount_id = :mount AND ts >= :start AND ts < :end AND ts NOT IN "
        "(SELECT MIN(ts) FROM filesystem WHERE mount_id = :mount AND ts >= :start AND ts < :end "
        f"GROUP BY ts / {HOUR})",
        window,
    )


# -- forecasts


def course(execute: Execute, after: int, now: int) -> Course | None:
    """The next file system by number after `after` that is mounted now, over as much as forecasts learn from."""
    mounted = execute(
        "SELECT mount_id, path FROM mount WHERE mount_id > ? AND EXISTS (SELECT 1 FROM filesystem AS f "
        "WHERE f.mount_id = mount.mount_id AND f.ts > ? AND f.ts <= ?) ORDER BY mount_id LIMIT 1",
        (after, now - _MOUNTED_SECONDS, now),
    )
    if not mounted:
        return None
    mount_id, path = mounted[0]
    rows = execute(
        f"SELECT ts / {HOUR}, MAX(ts), used_kb, available_kb FROM filesystem "
        f"WHERE mount_id = ? AND ts > ? AND ts <= ? GROUP BY ts / {HOUR} ORDER BY 1",
        (mount_id, now - LEARN_SECONDS, now),
    )
    used: list[float | None] = [None] * (rows[-1][0] - rows[0][0] + 1)
    for hour, _, used_kb, _ in rows:
        used[hour - rows[0][0]] = used_kb * 1024.0
    _, last_ts, used_kb, available_kb = rows[-1]
    return Course(mount_id, path, last_ts, used, (used_kb + available_kb) * 1024)


def insert_forecast(execute: Execute, mount_id: int, told: Forecast) -> None:
    execute(
        "INSERT INTO forecast (mount_id, made_ts, is_full, level_kb, growth_kb_per_day, earliest_ts, middle_ts, "
        "latest_ts, watched_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(mount_id, told.made, int(told.is_full), told.level_bytes // 1024, told.growth_bytes_per_day // 1024),
            *(told.earliest, told.middle, told.latest, told.made),
        ),
    )


def watch(execute: Execute, mount_id: int, now: int) -> None:
    """See which levels that were foretold have been reached since this was last asked."""
    window = {"mount": mount_id, "now": now}
    pending = "mount_id = :mount AND reached_ts IS NULL AND watched_until < :now"
    since = execute(f"SELECT MIN(watched_until) FROM forecast WHERE {pending}", window)[0][0]
    if since is None:
        return
    highest = "SELECT MAX(used_kb) FROM filesystem WHERE mount_id = :mount AND ts > :since AND ts <= :now"
    first = (
        "SELECT MIN(ts) FROM filesystem AS f WHERE f.mount_id = :mount AND f.ts > forecast.watched_until "
        "AND f.ts <= :now AND f.used_kb >= forecast.level_kb"
    )
    execute(
        f"UPDATE forecast SET reached_ts = ({first}) WHERE {pending} AND level_kb <= ({highest})",
        {**window, "since": since},
    )
    execute(f"UPDATE forecast SET watched_until = :now WHERE {pending}", window)
