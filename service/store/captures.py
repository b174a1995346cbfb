"""Who used the host: captures of its processes as rows, their reduction to hours, and the one SQL that adds them up.

A capture belongs to the hour, or window, in which its middle lies: one that ends at a whole hour belongs to the hour
before. Of each hour the names that used most are kept, so that the question can still be asked when captures are gone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from service.clock import DAY, HOUR
from service.records import Capture, ProcessUsage
from service.store.statements import Row, Statements

# Of an hour so many names are kept by CPU time, and half as many by memory, for each process that a capture keeps.
HOUR_NAMES = 2
# Process ids kept of a name: those of a few dozen workers.
MOST_PIDS = 20
_GROUP_SECONDS = 60 * DAY
# No capture that counts covers more: far more than the longest interval between two, an hour.
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


def insert(statements: Statements, capture: Capture, stretch_id: int) -> None:
    """Store one capture; the same again changes nothing."""
    statements.run(
        "INSERT INTO capture (ts, stretch_id, covered_ms, capacity_ms, busy_ms) "
        "VALUES (:ts, :stretch, :covered, :capacity, :busy) ON CONFLICT DO NOTHING",
        {
            "ts": capture.ts,
            "stretch": stretch_id,
            "covered": max(1, _ms(capture.covered_seconds)),
            "capacity": max(1, _ms(capture.capacity_seconds)),
            "busy": None if capture.busy_seconds is None else _ms(capture.busy_seconds),
        },
    )
    for usage in capture.usages:
        _insert_process(statements, usage, capture.ts, stretch_id)
    # The clock was set back into an hour that is reduced already: reduce it again.
    statements.run(
        "UPDATE use_progress SET hours_until = ? WHERE hours_until > ?",
        ((capture.ts - 1) // HOUR * HOUR, capture.ts - 1),
    )


def _insert_process(statements: Statements, usage: ProcessUsage, ts: int, stretch_id: int) -> None:
    statements.run(
        "INSERT INTO process (ts, stretch_id, pid, name_id, cpu_ms, memory_kb) "
        "VALUES (:ts, :stretch, :pid, :name, :cpu, :memory) ON CONFLICT DO NOTHING",
        {
            "ts": ts,
            "stretch": stretch_id,
            "pid": usage.pid,
            "name": _name_id(statements, usage.name, ts),
            "cpu": _ms(usage.cpu_seconds),
            "memory": usage.memory_bytes // 1024,
        },
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _name_id(statements: Statements, name: str, ts: int) -> int:
    """The number of the name, a new one where it has none; that it still occurs is noted once a day."""
    known = statements.row("SELECT name_id, last_ts FROM process_name WHERE name = ?", (name,))
    if known is None:
        insert = "INSERT INTO process_name (name, last_ts) VALUES (?, ?) RETURNING name_id"
        ((new,),) = statements.rows(insert, (name, ts))
        return int(new)
    name_id, last = known
    if ts >= last + DAY:
        statements.run("UPDATE process_name SET last_ts = ? WHERE name_id = ?", (ts, name_id))
    return int(name_id)


def roll_up(statements: Statements, count: int) -> bool:
    """One bounded step: reduce the next hour that has captures and that a capture lies after.

    `count`: how many processes a capture keeps by each measure. Doing it twice is the same as once.

    :returns: whether there is more to do.
    """
    until, captures_from = _progress(statements)
    newest = statements.number("SELECT MAX(ts) FROM capture")
    following = statements.number("SELECT MIN(ts) FROM capture WHERE ts > ?", (until,))
    # A capture that ends at the whole hour is the last that belongs to the hour before.
    limit = 0 if newest is None else newest // HOUR * HOUR
    if following is None or following > limit:
        return False
    hour = max(until, (following - 1) // HOUR * HOUR)
    if hour >= captures_from:
        _reduce_hour(statements, hour, count)
    statements.run("UPDATE use_progress SET hours_until = ?", (hour + HOUR,))
    return bool(hour + HOUR < limit)


def _reduce_hour(statements: Statements, hour: int, count: int) -> None:
    part = _Part(hour, hour + HOUR, is_hours=False)
    ((covered, capacity, known, busy),) = statements.rows(_CAPTURES, part.bounds)
    if not capacity:
        return
    statements.run("INSERT OR REPLACE INTO capture_hour VALUES (?, ?, ?, ?, ?)", (hour, covered, capacity, known, busy))
    statements.run("DELETE FROM process_hour WHERE ts = ?", (hour,))
    names = _names(statements, part)
    by_cpu = sorted(names, key=lambda row: -row[1])[: HOUR_NAMES * count]
    by_memory = sorted(names, key=lambda row: -row[2])[:count]
    pids = _pids_of(statements, part, [row[0] for row in names])
    for name_id, cpu, memory in {row[0]: row for row in (*by_cpu, *by_memory)}.values():
        encoded = msgspec.json.encode(pids.get(name_id, [])).decode()
        statements.run("INSERT INTO process_hour VALUES (?, ?, ?, ?, ?)", (hour, name_id, cpu, memory, encoded))


def prune(statements: Statements, captures_before: int, hours_before: int, most: int) -> bool:
    """One bounded step: delete the oldest captures that are reduced, the oldest hours, and names without either.

    `most`: how many captures, or hours, at once.

    :returns: whether there is more to do.
    """
    until, captures_from = _progress(statements)
    before = min(captures_before, until) // HOUR * HOUR
    end = _step_end(statements, before, most)
    gone = statements.run("DELETE FROM capture WHERE ts <= ?", (end,))
    statements.run("DELETE FROM process WHERE ts <= ?", (end,))
    if gone and end > captures_from:
        statements.run("UPDATE use_progress SET captures_from = ?", (end,))
    first = statements.number("SELECT MIN(ts) FROM capture_hour")
    hours_end = hours_before if first is None else min(hours_before, first + most * HOUR)
    statements.run("DELETE FROM process_hour WHERE ts < ?", (hours_end,))
    statements.run("DELETE FROM capture_hour WHERE ts < ?", (hours_end,))
    statements.run(
        "DELETE FROM process_name WHERE last_ts < ? "
        "AND NOT EXISTS (SELECT 1 FROM process_hour AS h WHERE h.name_id = process_name.name_id)",
        (min(end, captures_before) - 2 * DAY,),
    )
    return end < before or hours_end < hours_before


def _step_end(statements: Statements, before: int, most: int) -> int:
    """Where a bounded step of pruning ends: at `before`, or with the hour in which its last capture lies."""
    last = statements.number(f"SELECT ts FROM capture WHERE ts <= ? ORDER BY ts LIMIT 1 OFFSET {most}", (before,))
    return before if last is None else min(before, last // HOUR * HOUR + HOUR)


def oldest(statements: Statements) -> int | None:
    """The stamp of the first capture."""
    return statements.number("SELECT MIN(ts) FROM capture")


def _progress(statements: Statements) -> tuple[int, int]:
    """`hours_until` and `captures_from` (see the table `use_progress`)."""
    ((until, captures_from),) = statements.rows("SELECT hours_until, captures_from FROM use_progress")
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
_PROCESSES = f"(SELECT ts, stretch_id FROM capture WHERE {_WHERE}) CROSS JOIN process USING (ts, stretch_id)"
_NAMES = (
    "SELECT name_id, SUM(cpu_ms), MAX(memory_kb) FROM (SELECT name_id, SUM(cpu_ms) AS cpu_ms, "
    f"SUM(memory_kb) AS memory_kb FROM {_PROCESSES} GROUP BY ts, stretch_id, name_id) GROUP BY name_id"
)
_HOURS = (
    "SELECT SUM(covered_ms), SUM(capacity_ms), COALESCE(SUM(known_ms), 0), COALESCE(SUM(busy_ms), 0) "
    "FROM capture_hour WHERE ts >= :start AND ts < :end"
)
_HOUR_NAMES = (
    "SELECT name_id, SUM(cpu_ms), MAX(memory_kb) FROM process_hour WHERE ts >= :start AND ts < :end GROUP BY name_id"
)


@dataclass(frozen=True, slots=True)
class _Part:
    """The part start <= t < end of a window, to be read from hours or from captures."""

    start: int
    end: int
    is_hours: bool

    @property
    def bounds(self) -> dict[str, int]:
        """The parameters of the statements."""
        return {"start": self.start, "end": self.end, "start_ms": self.start * 1000, "end_ms": self.end * 1000}


def usage(statements: Statements, start: int, end: int, key: str, count: int) -> Usage:
    """Who used the host during start <= t < end: the `count` names with most of `key` (`cpu` or `memory`), most first.

    Whole hours come from their reduction, and all of a window whose captures are gone; its edges from captures.
    """
    until, captures_from = _progress(statements)
    parts = list(_plan(start, end, until, captures_from))
    covered = capacity = known = busy = 0
    # Of each name its CPU time, and the most memory.
    names: dict[int, tuple[int, int]] = {}
    for part in parts:
        ((covered_ms, capacity_ms, known_ms, busy_ms),) = statements.rows(
            _HOURS if part.is_hours else _CAPTURES, part.bounds
        )
        covered, capacity = covered + (covered_ms or 0), capacity + (capacity_ms or 0)
        known, busy = known + known_ms, busy + busy_ms
        for name_id, cpu, memory in _hour_names(statements, part) if part.is_hours else _names(statements, part):
            cpu_before, memory_before = names.get(name_id, (0, 0))
            names[name_id] = cpu_before + cpu, max(memory_before, memory)
    order = sorted(names, key=lambda name_id: (-names[name_id][key == "memory"], name_id))[:count]
    return Usage(
        covered_seconds=covered / 1000,
        capacity_seconds=capacity / 1000,
        cpu_percent=100 * busy / known if known else None,
        names=list(_name_usages(statements, parts, {name_id: names[name_id] for name_id in order})),
    )


def _names(statements: Statements, part: _Part) -> Sequence[Row]:
    return statements.rows(_NAMES, part.bounds)


def _hour_names(statements: Statements, part: _Part) -> Iterator[Row]:
    """By parts of some weeks: to group all of five years at once SQLite would sort them, in 30 MB of memory."""
    for start in range(part.start, part.end, _GROUP_SECONDS):
        yield from statements.rows(_HOUR_NAMES, {"start": start, "end": min(start + _GROUP_SECONDS, part.end)})


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


def _plan(start: int, end: int, until: int, captures_from: int) -> Iterator[_Part]:
    """The parts that together cover the window once, in time order.

    Hours stand in where captures are gone: they belong to the window in which they begin.
    """
    first = -(-start // HOUR) * HOUR
    last = max(first, min(end, until) // HOUR * HOUR if end > captures_from else end)
    if last <= first:
        yield _Part(start, end, is_hours=False)
        return
    if start < first:
        yield _Part(start, first, is_hours=False)
    yield _Part(first, last, is_hours=True)
    if last < end:
        yield _Part(last, end, is_hours=False)


def _name_usages(
    statements: Statements, parts: Sequence[_Part], top: Mapping[int, tuple[int, int]]
) -> Iterator[NameUsage]:
    """The names in the order in which they come, each with its processes, those of the newest part first."""
    pids: dict[int, list[int]] = {}
    for part in reversed(parts):
        found = _hour_pids(statements, part, top) if part.is_hours else _pids_of(statements, part, top)
        for name_id, new in found.items():
            pids[name_id] = list(dict.fromkeys([*pids.get(name_id, []), *new]))[:MOST_PIDS]
    marks = ", ".join("?" * len(top))
    rows = statements.rows(f"SELECT name_id, name FROM process_name WHERE name_id IN ({marks})", tuple(top))
    names = {row[0]: row[1] for row in rows}
    for name_id, (cpu, memory) in top.items():
        yield NameUsage(names.get(name_id, "?"), pids.get(name_id, []), cpu / 1000, memory * 1024)


def _pids_of(statements: Statements, part: _Part, names: Iterable[int]) -> dict[int, list[int]]:
    """Of each name the processes that used most CPU, then most memory."""
    wanted = set(names)
    pids: dict[int, list[int]] = {}
    query = (
        f"SELECT name_id, pid FROM {_PROCESSES} GROUP BY name_id, pid ORDER BY SUM(cpu_ms) DESC, MAX(memory_kb) DESC"
    )
    for name_id, pid in statements.rows(query, part.bounds):
        if name_id in wanted and len(of_name := pids.setdefault(name_id, [])) < MOST_PIDS:
            of_name.append(pid)
    return pids


def _hour_pids(statements: Statements, part: _Part, names: Iterable[int]) -> dict[int, list[int]]:
    """Of each name those kept of its newest hours."""
    pids: dict[int, list[int]] = {}
    query = (
        "SELECT pids FROM process_hour WHERE name_id = :name AND ts >= :start AND ts < :end ORDER BY ts DESC LIMIT 24"
    )
    for name_id in names:
        rows = statements.rows(query, {**part.bounds, "name": name_id})
        pids[name_id] = [pid for (text,) in rows for pid in msgspec.json.decode(text)]
    return pids
