"""How full file systems were: rows once a minute, thinned to one an hour; the forecasts made of them, and their score.

A forecast is kept with its level and its interval, and watched until the level is reached: whether it came within the
interval is what later says how far forecasts can be believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.clock import DAY, HOUR
from service.records import Forecast, MountsListed, MountUsage
from service.store import mount_events
from service.store.statements import Statements

# Forecasts learn from this much, by the hour.
LEARN_SECONDS = 30 * DAY
# A file system that was not read for so long is not mounted any more.
_MOUNTED_SECONDS = HOUR
# The rows of so many hours of one mount are thinned at once.
_THIN_HOURS = 24


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one file system: bytes used at the end of each hour, oldest first, None where nothing was
    recorded; `last_ts` is when it was last read, `full_bytes` how many used bytes fill it up."""

    mount_id: int
    path: str
    last_ts: int
    used: list[float | None]
    full_bytes: int


def insert(
    statements: Statements,
    ts: int,
    usages: Sequence[MountUsage],
    stretch_id: int,
    listed: MountsListed | None = None,
) -> None:
    """Store one capture of the file systems, and which mounts have come and gone, where it is known what is mounted;
    the same again changes nothing."""
    if listed is not None:
        mount_events.insert(statements, ts, usages, listed)
    for usage in usages:
        statements.run(
            "INSERT INTO filesystem (mount_id, ts, stretch_id, total_kb, used_kb, available_kb, total_inodes, "
            "used_inodes) VALUES (:mount, :ts, :stretch, :total, :used, :available, :inodes, :used_inodes) "
            "ON CONFLICT DO NOTHING",
            {
                "mount": _mount_id(statements, usage),
                "ts": ts,
                "stretch": stretch_id,
                "total": usage.total_bytes // 1024,
                "used": usage.used_bytes // 1024,
                "available": usage.available_bytes // 1024,
                "inodes": usage.total_inodes,
                "used_inodes": usage.used_inodes,
            },
        )


def _mount_id(statements: Statements, usage: MountUsage) -> int:
    """Its number, a new one where it has none; what is mounted there now is noted."""
    kind = usage.fstype, usage.device
    known = statements.row("SELECT mount_id, type, device FROM mount WHERE path = ?", (usage.path,))
    if known is None:
        insert = "INSERT INTO mount (path, type, device) VALUES (?, ?, ?) RETURNING mount_id"
        ((number,),) = statements.rows(insert, (usage.path, *kind))
        return int(number)
    if tuple(known[1:]) != kind:
        statements.run("UPDATE mount SET type = ?, device = ? WHERE mount_id = ?", (*kind, known[0]))
    return int(known[0])


def prune(statements: Statements, minutes_before: int, hours_before: int) -> bool:
    """One bounded step: before `minutes_before` keep the first row of each hour, before `hours_before` none.

    :returns: whether there is more to do.
    """
    begin = statements.number("SELECT thinned_until FROM use_progress") or 0
    minutes_before = minutes_before // HOUR * HOUR
    mounts = [mount_id for (mount_id,) in statements.rows("SELECT mount_id FROM mount")]
    start = _first_after(statements, mounts, begin, default=minutes_before) // HOUR * HOUR
    end = min(minutes_before, max(start, begin) + _THIN_HOURS * HOUR)
    for mount_id in mounts:
        _thin(statements, mount_id, start, end)
        statements.run("DELETE FROM filesystem WHERE mount_id = ? AND ts < ?", (mount_id, hours_before))
        statements.run("DELETE FROM forecast WHERE mount_id = ? AND made_ts < ?", (mount_id, hours_before))
    statements.run("DELETE FROM mount_event WHERE ts < ?", (hours_before,))
    if end > begin:
        statements.run("UPDATE use_progress SET thinned_until = ?", (end,))
    return begin < end < minutes_before


def _first_after(statements: Statements, mounts: Sequence[int], ts: int, default: int) -> int:
    """The first stamp at or after `ts`. By mount, with which the key begins."""
    query = "SELECT MIN(ts) FROM filesystem WHERE mount_id = ? AND ts >= ?"
    firsts = [statements.number(query, (mount_id, ts)) for mount_id in mounts]
    return min((first for first in firsts if first is not None), default=default)


def _thin(statements: Statements, mount_id: int, start: int, end: int) -> None:
    statements.run(
        "DELETE FROM filesystem WHERE mount_id = :mount AND ts >= :start AND ts < :end AND ts NOT IN "
        "(SELECT MIN(ts) FROM filesystem WHERE mount_id = :mount AND ts >= :start AND ts < :end "
        f"GROUP BY ts / {HOUR})",
        {"mount": mount_id, "start": start, "end": end},
    )


# -- forecasts


def course(statements: Statements, after: int, now: int) -> Course | None:
    """The next file system by number after `after` that is mounted now, over as much as forecasts learn from."""
    mounted = statements.row(
        "SELECT mount_id, path FROM mount WHERE mount_id > ? AND EXISTS (SELECT 1 FROM filesystem AS f "
        "WHERE f.mount_id = mount.mount_id AND f.ts > ? AND f.ts <= ?) ORDER BY mount_id LIMIT 1",
        (after, now - _MOUNTED_SECONDS, now),
    )
    if mounted is None:
        return None
    mount_id, path = mounted
    rows = statements.rows(
        f"SELECT ts / {HOUR}, MAX(ts), used_kb, available_kb FROM filesystem "
        f"WHERE mount_id = ? AND ts > ? AND ts <= ? GROUP BY ts / {HOUR} ORDER BY 1",
        (mount_id, now - LEARN_SECONDS, now),
    )
    first_hour, last_hour = rows[0][0], rows[-1][0]
    used: list[float | None] = [None] * (last_hour - first_hour + 1)
    for hour, _, used_kb, _ in rows:
        used[hour - first_hour] = used_kb * 1024.0
    _, last_ts, used_kb, available_kb = rows[-1]
    return Course(mount_id, path, last_ts, used, full_bytes=(used_kb + available_kb) * 1024)


def insert_forecast(statements: Statements, mount_id: int, forecast: Forecast) -> None:
    """Store one forecast, not yet watched; the same again changes nothing."""
    statements.run(
        "INSERT INTO forecast (mount_id, made_ts, is_full, level_kb, growth_kb_per_day, earliest_ts, middle_ts, "
        "latest_ts, watched_until) VALUES (:mount, :made, :is_full, :level, :growth, :earliest, :middle, :latest, "
        ":made) ON CONFLICT DO NOTHING",
        {
            "mount": mount_id,
            "made": forecast.made,
            "is_full": int(forecast.is_full),
            "level": forecast.level_bytes // 1024,
            "growth": forecast.growth_bytes_per_day // 1024,
            "earliest": forecast.earliest,
            "middle": forecast.middle,
            "latest": forecast.latest,
        },
    )


def held(statements: Statements, mount_id: int, since: int, now: int, least_seconds: int) -> list[bool]:
    """Which of the mount's near forecasts made after `since` that were due at `now` held, oldest first; of those with
    their middle at least `least_seconds` ahead, and each made only after the one before was due: forecasts that overlap
    hold or fail together."""
    rows = statements.rows(
        "SELECT made_ts, earliest_ts, latest_ts, reached_ts FROM forecast WHERE mount_id = ? AND is_full = 0 "
        "AND made_ts > ? AND latest_ts <= ? AND middle_ts - made_ts >= ? ORDER BY made_ts",
        (mount_id, since, now, least_seconds),
    )
    found: list[bool] = []
    free_from = since
    for made, earliest, latest, reached in rows:
        if made >= free_from:
            found.append(reached is not None and earliest <= reached <= latest)
            free_from = latest
    return found


def watch(statements: Statements, mount_id: int, now: int) -> None:
    """Note which levels of the forecasts have been reached since this was last asked."""
    window = {"mount": mount_id, "now": now}
    pending = "mount_id = :mount AND reached_ts IS NULL AND watched_until < :now"
    since = statements.number(f"SELECT MIN(watched_until) FROM forecast WHERE {pending}", window)
    if since is None:
        return
    highest = "SELECT MAX(used_kb) FROM filesystem WHERE mount_id = :mount AND ts > :since AND ts <= :now"
    first = (
        "SELECT MIN(ts) FROM filesystem AS f WHERE f.mount_id = :mount AND f.ts > forecast.watched_until "
        "AND f.ts <= :now AND f.used_kb >= forecast.level_kb"
    )
    statements.run(
        f"UPDATE forecast SET reached_ts = ({first}) WHERE {pending} AND level_kb <= ({highest})",
        {**window, "since": since},
    )
    statements.run(f"UPDATE forecast SET watched_until = :now WHERE {pending}", window)
