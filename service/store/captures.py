"""Who used the host: captures of its processes as rows, their reduction to hours, and the one SQL that adds them up.

A capture belongs to the hour, or window, in which its middle lies: one that ends at a whole hour tells of the hour
before. Of each hour the names that used most are kept, so that the question can still be asked when captures are gone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from service.clock import DAY, HOUR
from service.records import Capture
from service.store.tiers import Execute, Row

# Of an hour so many names are kept by CPU time, and half as many by memory, for each process that a capture keeps.
HOUR_NAMES = 2
# Process ids told of a name: those of a few dozen workers.
MOST_PIDS = 20
_GROUP_SECONDS = 60 * DAY
# No capture that counts covers more: far beyond two looks an hour apart.
_SLACK_SECONDS = 2 * HOUR


@dataclass(frozen=True, slots=True)
class NameUsage:
    """What the processes of one name used in a window: CPU seconds in all, and the most memory at one moment."""

    name: str
    pids: list[int]
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Who used the host in a window. `cpu_percent`: the host's own figure over the captures, None where unknown."""

    covered_seconds: float
    capacity_seconds: float
    cpu_percent: float | None
    names: list[NameUsage]


# -- writing


def insert(execute: Execute, capture: Capture, stretch_id: int) -> None:
    """Store one capture; the same again changes nothing."""
    key = (capture.ts, stretch_id)
    busy = None if capture.busy_seconds is None else _ms(capture.busy_seconds)
    execute(
        "INSERT INTO capture (ts, stretch_id, covered_ms, capacity_ms, busy_ms) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (*key, max(1, _ms(capture.covered_seconds)), max(1, _ms(capture.capacity_seconds)), busy),
    )
    for use in capture.uses:
        execute(
            "INSERT INTO process (ts, stretch_id, pid, name_id, cpu_ms, memory_kb) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (*key, use.pid, _name_id(execute, use.name, capture.ts), _ms(use.cpu_seconds), use.memory_bytes // 1024),
        )
    # The clock was set back into an hour that is reduced already: reduce it again.
    execute(
        "UPDATE use_progress SET hours_until = ? WHERE hours_until > ?",
        ((capture.ts - 1) // HOUR * HOUR, capture.ts - 1),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _name_id(execute: Execute, name: str, ts: int) -> int:
    """The number of the name, a new one where it has none; that it is in use is noted once a day."""
    known = execute("SELECT name_id, last_ts FROM process_name WHERE name = ?", (name,))
    if not known:
        return int(
            execute("INSERT INTO process_name (name, last_ts) VALUES (?, ?) RETURNING name_id", (name, ts))[0][0]
        )
    name_id, last = known[0]
    if ts >= last + DAY:
        execute("UPDATE process_name SET last_ts = ? WHERE name_id = ?", (ts, name_id))
    return int(name_id)


def roll_up(execute: Execute, count: int) -> bool:
    """One bounded step: reduce the next hour that has captures and that a capture lies after.

    `count`: how many processes a capture keeps by each measure. Doing it twice is the same as once.

    :returns: whether there is more to do.
    """
    until, captures_from = _progress(execute)
    newest = execute("SELECT MAX(ts) FROM capture", ())[0][0]
    following = execute("SELECT MIN(ts) FROM capture WHERE ts > ?", (until,))[0][0]
    # A capture that tells of the hour before is the last to do so.
    limit = 0 if newest is None else newest // HOUR * HOUR
    if following is None or following > limit:
        return False
    hour = max(until, (following - 1) // HOUR * HOUR)
    if hour >= captures_from:
        _reduce_hour(execute, hour, count)
    execute("UPDATE use_progress SET hours_until = ?", (hour + HOUR,))
    return bool(hour + HOUR < limit)


def _reduce_hour(execute: Execute, hour: int, count: int) -> None:
    window = {"start": hour, "end": hour + HOUR}
    covered, capacity, known, busy = execute(_CAPTURES, _bounds(window))[0]
    if not capacity:
        return
    execute("INSERT OR REPLACE INTO capture_hour VALUES (?, ?, ?, ?, ?)", (hour, covered, capacity, known, busy))
    execute("DELETE FROM process_hour WHERE ts = ?", (hour,))
    names = execute(_NAMES, _bounds(window))
    by_cpu = sorted(names, key=lambda row: -row[1])[: HOUR_NAMES * count]
    by_memory = sorted(names, key=lambda row: -row[2])[:count]
    pids = _pids_of(execute, window, [name_id for name_id, *_ in names])
    for name_id, cpu, memory in {row[0]: row for row in (*by_cpu, *by_memory)}.values():
        told = msgspec.json.encode(pids.get(name_id, [])).decode()
        execute("INSERT INTO process_hour VALUES (?, ?, ?, ?, ?)", (hour, name_id, cpu, memory, told))


def prune(execute: Execute, captures_before: int, hours_before: int, most: int) -> bool:
    """One bounded step: delete the oldest captures that are reduced, the oldest hours, and names without either.

    :returns: whether there is more to do.
    """
    until, captures_from = _progress(execute)
    before = min(captures_before, until) // HOUR * HOUR
    found = execute(f"SELECT ts FROM capture WHERE ts <= ? ORDER BY ts LIMIT 1 OFFSET {most}", (before,))
    end = min(before, found[0][0] // HOUR * HOUR + HOUR) if found else before
    gone = execute("DELETE FROM capture WHERE ts <= ? RETURNING ts", (end,))
    execute("DELETE FROM process WHERE ts <= ?", (end,))
    if gone and end > captures_from:
        execute("UPDATE use_progress SET captures_from = ?", (end,))
    first = execute("SELECT MIN(ts) FROM capture_hour", ())[0][0]
    hours_end = hours_before if first is None else min(hours_before, first + most * HOUR)
    execute("DELETE FROM process_hour WHERE ts < ?", (hours_end,))
    execute("DELETE FROM capture_hour WHERE ts < ?", (hours_end,))
    execute(
        "DELETE FROM process_name WHERE last_ts < ? "
        "AND NOT EXISTS (SELECT 1 FROM process_hour AS h WHERE h.name_id = process_name.name_id)",
        (min(end, captures_before) - 2 * DAY,),
    )
    return bool(end < before or hours_end < hours_before)


def oldest(execute: Execute) -> int | None:
    """The stamp of the first capture."""
    found = execute("SELECT MIN(ts) FROM capture", ())[0][0]
    return None if found is None else int(found)


def _progress(execute: Execute) -> tuple[int, int]:
    until, captures_from = execute("SELECT hours_until, captures_from FROM use_progress", ())[0]
    return until, captures_from


# -- adding up

# By their key first (ts), then exactly by the middle.
_WHERE = (
    f"ts >= :start AND ts <= :end + {_SLACK_SECONDS} "
    "AND ts * 1000 - covered_ms / 2 >= :start_ms AND ts * 1000 - covered_ms / 2 < :end_ms"
)
_CAPTURES = (
    "SELECT SUM(covered_ms), SUM(capacity_ms), COALESCE(SUM(capacity_ms) FILTER (WHERE busy_ms IS NOT NULL), 0), "
    f"COALESCE(SUM(busy_ms), 0) FROM capture WHERE {_WHERE}"
)
# CROSS JOIN keeps SQLite from beginning with the larger table.
_USES = f"(SELECT ts, stretch_id FROM capture WHERE {_WHERE}) CROSS JOIN process USING (ts, stretch_id)"
_NAMES = (
    "SELECT name_id, SUM(cpu_ms), MAX(memory_kb) FROM (SELECT name_id, SUM(cpu_ms) AS cpu_ms, "
    f"SUM(memory_kb) AS memory_kb FROM {_USES} GROUP BY ts, stretch_id, name_id) GROUP BY name_id"
)
_HOURS = (
    "SELECT SUM(covered_ms), SUM(capacity_ms), COALESCE(SUM(known_ms), 0), COALESCE(SUM(busy_ms), 0) "
    "FROM capture_hour WHERE ts >= :start AND ts < :end"
)
_HOUR_NAMES = (
    "SELECT name_id, SUM(cpu_ms), MAX(memory_kb) FROM process_hour WHERE ts >= :start AND ts < :end GROUP BY name_id"
)


def use(execute: Execute, start: int, end: int, key: str, count: int) -> Usage:
    """Who used the host during start <= t < end: the `count` names with most of `key` (`cpu` or `memory`), most first.

    Whole hours come from their reduction, and all of a window whose captures are gone; its edges from captures.
    """
    totals, names = [0, 0, 0, 0], dict[int, list[int]]()
    segments = list(_plan(start, end, *_progress(execute)))
    for is_hours, window in segments:
        for at, value in enumerate(execute(_HOURS if is_hours else _CAPTURES, window)[0]):
            totals[at] += value or 0
        for name_id, cpu, memory in _hour_names(execute, window) if is_hours else execute(_NAMES, window):
            so_far = names.setdefault(name_id, [0, 0])
            so_far[0], so_far[1] = so_far[0] + cpu, max(so_far[1], memory)
    order = sorted(names, key=lambda name_id: (-names[name_id][key == "memory"], name_id))[:count]
    return Usage(
        totals[0] / 1000,
        totals[1] / 1000,
        100 * totals[3] / totals[2] if totals[2] else None,
        list(_told(execute, segments, {name_id: names[name_id] for name_id in order})),
    )


def _hour_names(execute: Execute, window: dict[str, int]) -> Iterator[Row]:
    """By parts of some weeks: to group all of five years at once SQLite would sort them, in 30 MB of memory."""
    for start in range(window["start"], window["end"], _GROUP_SECONDS):
        yield from execute(_HOUR_NAMES, {"start": start, "end": min(start + _GROUP_SECONDS, window["end"])})


def shares_sql(start: int, end: int) -> str:
    """What gives the shares of a window at a prompt, from the public views; exact while its captures are kept."""
    middle = "ts - covered_seconds / 2"
    within = f"ts >= {start} AND ts < {end + _SLACK_SECONDS} AND {middle} >= {start} AND {middle} < {end}"
    return (
        "SELECT name, SUM(cpu_percent * covered_seconds) / (\n"
        f"  SELECT SUM(covered_seconds) FROM captures WHERE {within}) AS cpu_percent\n"
        f"FROM processes WHERE {within}\n"
        "GROUP BY name ORDER BY cpu_percent DESC"
    )


def _plan(start: int, end: int, until: int, captures_from: int) -> Iterator[tuple[bool, dict[str, int]]]:
    """The parts that together cover the window once, each with whether hours serve it; in time order.

    Hours stand in where captures are gone: they belong to the window in which they begin.
    """
    first = -(-start // HOUR) * HOUR
    last = max(first, min(end, until) // HOUR * HOUR if end > captures_from else end)
    if last <= first:
        yield False, _bounds({"start": start, "end": end})
        return
    if start < first:
        yield False, _bounds({"start": start, "end": first})
    yield True, {"start": first, "end": last}
    if last < end:
        yield False, _bounds({"start": last, "end": end})


def _bounds(window: dict[str, int]) -> dict[str, int]:
    return {**window, "start_ms": window["start"] * 1000, "end_ms": window["end"] * 1000}


def _told(
    execute: Execute, segments: Sequence[tuple[bool, dict[str, int]]], top: dict[int, list[int]]
) -> Iterator[NameUsage]:
    """The names in the order in which they come, each with its processes, those of the newest part first."""
    pids: dict[int, list[int]] = {}
    for is_hours, window in reversed(segments):
        found = _hour_pids(execute, window, top) if is_hours else _pids_of(execute, window, top)
        for name_id, new in found.items():
            pids[name_id] = list(dict.fromkeys([*pids.get(name_id, []), *new]))[:MOST_PIDS]
    marks = ", ".join("?" * len(top))
    names = dict(map(tuple, execute(f"SELECT name_id, name FROM process_name WHERE name_id IN ({marks})", tuple(top))))
    for name_id, (cpu, memory) in top.items():
        yield NameUsage(names.get(name_id, "?"), pids.get(name_id, []), cpu / 1000, memory * 1024)


def _pids_of(execute: Execute, window: dict[str, int], names: Iterable[int]) -> dict[int, list[int]]:
    """Of each name the processes that used most CPU, then most memory."""
    wanted = set(names)
    pids: dict[int, list[int]] = {}
    query = f"SELECT name_id, pid FROM {_USES} GROUP BY name_id, pid ORDER BY SUM(cpu_ms) DESC, MAX(memory_kb) DESC"
    for name_id, pid in execute(query, _bounds(window)):
        if name_id in wanted and len(told := pids.setdefault(name_id, [])) < MOST_PIDS:
            told.append(pid)
    return pids


def _hour_pids(execute: Execute, window: dict[str, int], names: Iterable[int]) -> dict[int, list[int]]:
    """Of each name those told in its newest hours."""
    pids: dict[int, list[int]] = {}
    query = (
        "SELECT pids FROM process_hour WHERE name_id = :name AND ts >= :start AND ts < :end ORDER BY ts DESC LIMIT 24"
    )
    for name_id in names:
        rows = execute(query, {**window, "name": name_id})
        pids[name_id] = [pid for (text,) in rows for pid in msgspec.json.decode(text)]
    return pids
