"""Who used the host, reduced: captures to hours, hours to days; and what of them is deleted.

Of each hour the names and services that used most are kept, so that the question can still be asked when captures are
gone. A day holds whatever one of its hours holds.
"""

from collections.abc import Sequence

import msgspec

from service.clock import DAY, HOUR
from service.store.schema import MIDDLE_MS
from service.store.statements import Row, Statements
from service.store.usages import MOST_PIDS, Part, captures_of, pids_in, progress, totals_sql

# Of an hour so many names are kept by CPU time, and half as many by memory, for each process that a capture keeps.
HOUR_NAMES = 2
# Process ids kept of a name in each of its hours.
_HOUR_PIDS = MOST_PIDS
# Of the services of an hour so many are kept for each process that a capture keeps.
_HOUR_SERVICES = 4


def roll_up(statements: Statements, count: int) -> bool:
    """One bounded step: reduce the next hour that has captures and that a capture lies after, or the next day.

    `count`: how many processes a capture keeps by each measure. Doing it twice is the same as once.

    :returns: whether there is more to do.
    """
    until, days_until, captures_from = progress(statements)
    newest = statements.number("SELECT MAX(ts) FROM capture")
    # The middle of the first capture that ends after what is reduced.
    following = statements.number(
        f"SELECT ({MIDDLE_MS}) / 1000 FROM capture WHERE ts > ? ORDER BY ts LIMIT 1", (until,)
    )
    limit = 0 if newest is None else newest // HOUR * HOUR
    hour = until if following is None else max(until, following // HOUR * HOUR)
    if following is None or hour + HOUR > limit:
        return _roll_up_day(statements, max(until, limit), days_until)
    if hour >= captures_from:
        _reduce_hour(statements, hour, count)
    statements.run("UPDATE use_progress SET hours_until = ?", (hour + HOUR,))
    return True


def _reduce_hour(statements: Statements, hour: int, count: int) -> None:
    part = Part(hour, hour + HOUR, "capture")
    totals = statements.rows(totals_sql(part), part.bounds)
    if not totals or not totals[0][2]:
        return
    _, covered, capacity, known, busy, memory = totals[0]
    statements.run(
        "INSERT OR REPLACE INTO capture_hour (ts, covered_ms, capacity_ms, known_ms, busy_ms, memory_kb) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (hour, covered, capacity, known, busy, None if memory is None else round(memory)),
    )
    _reduce_names(statements, part, covered, count)
    _reduce_services(statements, part, covered, count)


# Of each user in one hour; the parts of old captures are added up by name first.
_HOUR_OF_NAMES = (
    "SELECT name_id, SUM(cpu), MAX(memory), MAX(processes), SUM(children), SUM(1.0 * memory * covered_ms) FROM ("
    "SELECT ts, covered_ms, name_id, SUM(cpu_ms) AS cpu, SUM(memory_kb) AS memory, "
    "SUM(process.process_count) AS processes, SUM(children_ms) AS children "
    f"FROM {captures_of('ts, stretch_id, covered_ms, process_count')} AS c CROSS JOIN process USING (ts, stretch_id) "
    "WHERE process.process_count IS NOT NULL OR c.process_count IS NULL "
    "GROUP BY ts, stretch_id, name_id) GROUP BY name_id"
)
_HOUR_OF_SERVICES = (
    "SELECT service_id, SUM(cpu_ms), MAX(memory_kb), SUM(1.0 * memory_kb * covered_ms), SUM(read_kb), SUM(written_kb), "
    f"SUM(oom_kills) FROM {captures_of('ts, stretch_id, covered_ms')} CROSS JOIN service_usage USING (ts, stretch_id) "
    "GROUP BY service_id"
)


def _reduce_names(statements: Statements, part: Part, covered_ms: int, count: int) -> None:
    statements.run("DELETE FROM process_hour WHERE ts = ?", (part.start,))
    rows = _most(statements.rows(_HOUR_OF_NAMES, part.bounds), HOUR_NAMES * count, count)
    pids = pids_in(statements, part, [row[0] for row in rows])
    statements.run_each(
        "INSERT INTO process_hour (ts, name_id, cpu_ms, memory_kb, pids, process_count, children_ms, average_kb) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (part.start, name_id, cpu, memory, _encoded(pids.get(name_id, [])), processes, children,
             round(memory_ms / covered_ms))
            for name_id, cpu, memory, processes, children, memory_ms in rows
        ],
    )  # fmt: skip


def _encoded(pids: list[int]) -> str:
    return msgspec.json.encode(pids[:_HOUR_PIDS]).decode()


def _reduce_services(statements: Statements, part: Part, covered_ms: int, count: int) -> None:
    statements.run("DELETE FROM service_hour WHERE ts = ?", (part.start,))
    rows = _most(statements.rows(_HOUR_OF_SERVICES, part.bounds), _HOUR_SERVICES * count, count)
    statements.run_each(
        "INSERT INTO service_hour (ts, service_id, cpu_ms, memory_kb, average_kb, read_kb, written_kb, oom_kills) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (part.start, number, cpu, memory, None if memory_ms is None else round(memory_ms / covered_ms), *rest)
            for number, cpu, memory, memory_ms, *rest in rows
        ],
    )


def _most(rows: Sequence[Row], by_cpu: int, by_memory: int) -> list[Row]:
    """Those with most CPU time (second column), and those with most memory (third)."""
    busiest = sorted(rows, key=lambda row: -row[1])[:by_cpu]
    largest = sorted(rows, key=lambda row: -(row[2] or 0))[:by_memory]
    return list({row[0]: row for row in (*busiest, *largest)}.values())


# -- days


def _roll_up_day(statements: Statements, hours_until: int, days_until: int) -> bool:
    """Reduce the next day that has hours and is over.

    :returns: whether there was one.
    """
    following = statements.number("SELECT MIN(ts) FROM capture_hour WHERE ts >= ?", (days_until,))
    if following is None or following // DAY * DAY + DAY > hours_until:
        return False
    day = following // DAY * DAY
    if day >= days_until:
        _reduce_day(statements, day)
    statements.run("UPDATE use_progress SET days_until = ?", (day + DAY,))
    return True


def _reduce_day(statements: Statements, day: int) -> None:
    bounds = {"day": day, "start": day, "end": day + DAY}
    within = "WHERE ts >= :start AND ts < :end"
    average = "SUM(1.0 * {0} * covered_ms) / (SELECT SUM(covered_ms) FROM capture_hour " + within + ")"
    statements.run(
        "INSERT OR REPLACE INTO capture_day (ts, covered_ms, capacity_ms, known_ms, busy_ms, memory_kb) "
        "SELECT :day, SUM(covered_ms), SUM(capacity_ms), SUM(known_ms), SUM(busy_ms), "
        "CAST(SUM(1.0 * memory_kb * covered_ms) / SUM(covered_ms) FILTER (WHERE memory_kb IS NOT NULL) AS INTEGER) "
        f"FROM capture_hour {within}",
        bounds,
    )
    statements.run("DELETE FROM process_day WHERE ts = :day", bounds)
    statements.run(
        "INSERT INTO process_day (ts, name_id, cpu_ms, memory_kb, process_count, children_ms, average_kb) "
        "SELECT :day, name_id, SUM(cpu_ms), MAX(h.memory_kb), MAX(process_count), SUM(children_ms), "
        f"CAST({average.format('COALESCE(average_kb, h.memory_kb)')} AS INTEGER) "
        f"FROM capture_hour CROSS JOIN process_hour AS h USING (ts) {within} GROUP BY name_id",
        bounds,
    )
    statements.run("DELETE FROM service_day WHERE ts = :day", bounds)
    statements.run(
        "INSERT INTO service_day (ts, service_id, cpu_ms, memory_kb, average_kb, read_kb, written_kb, oom_kills) "
        f"SELECT :day, service_id, SUM(cpu_ms), MAX(h.memory_kb), CAST({average.format('average_kb')} AS INTEGER), "
        "SUM(read_kb), SUM(written_kb), SUM(oom_kills) "
        f"FROM capture_hour CROSS JOIN service_hour AS h USING (ts) {within} GROUP BY service_id",
        bounds,
    )


# -- retention


def prune(statements: Statements, captures_before: int, hours_before: int, most: int) -> bool:
    """One bounded step: delete the oldest captures that are reduced, the oldest hours and days, and names without any.

    `most`: how many captures, or hours, at once.

    :returns: whether there is more to do.
    """
    until, days_until, captures_from = progress(statements)
    before = min(captures_before, until) // HOUR * HOUR
    end = _step_end(statements, before, most)
    gone = statements.run("DELETE FROM capture WHERE ts <= ?", (end,))
    for table in ("process", "service_usage"):
        statements.run(f"DELETE FROM {table} WHERE ts <= ?", (end,))
    if gone and end > captures_from:
        statements.run("UPDATE use_progress SET captures_from = ?", (end,))
    # An hour goes once its day is made of it.
    hours_before = min(hours_before, days_until)
    first = statements.number("SELECT MIN(ts) FROM capture_hour")
    hours_end = hours_before if first is None else min(hours_before, first + most * HOUR)
    for table in ("process", "service", "capture"):
        statements.run(f"DELETE FROM {table}_hour WHERE ts < ?", (hours_end,))
        statements.run(f"DELETE FROM {table}_day WHERE ts < ?", (hours_end // DAY * DAY,))
    seen_before = min(end, captures_before) - 2 * DAY
    for words, key, table in (("process_name", "name_id", "process"), ("service", "service_id", "service")):
        _forget(statements, words, key, table, seen_before, first_day=hours_end // DAY * DAY)
    return end < before or hours_end < hours_before


def _forget(statements: Statements, words: str, key: str, table: str, seen_before: int, first_day: int) -> None:
    """Delete the names that were last seen before that second, and of which no hour is kept, nor anything in the day in
    which pruning stands."""
    kept = f"SELECT 1 FROM {table}_{{0}} AS kept WHERE kept.{key} = {words}.{key}"
    statements.run(
        f"DELETE FROM {words} WHERE last_ts < ? AND NOT EXISTS ({kept.format('hour')}) "
        f"AND NOT EXISTS ({kept.format('day')} AND ts = ?)",
        (seen_before, first_day),
    )


def _step_end(statements: Statements, before: int, most: int) -> int:
    """Where a bounded step of pruning ends: at `before`, or with the hour in which its last capture lies."""
    last = statements.number(f"SELECT ts FROM capture WHERE ts <= ? ORDER BY ts LIMIT 1 OFFSET {most}", (before,))
    return before if last is None else min(before, last // HOUR * HOUR + HOUR)
