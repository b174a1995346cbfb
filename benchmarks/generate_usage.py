"""Writes the part of a generated history that says who used the host and how full its file systems were."""

import json
import math
from collections.abc import Iterator
from random import Random

from sqlalchemy import Connection

from service.clock import DAY, HOUR, MINUTE
from service.recording.foresight import foresee
from service.store.writer import Store

CAPTURE_SECONDS = 30
CPUS = 4
KEPT = 5
GB = 10**6  # in kB, in which sizes are stored
# name, processes, share of the daytime load, resident memory of each in kB
PROGRAMS = (
    ("postgres", 6, 0.34, 310_000),
    ("java", 1, 0.22, 2_400_000),
    ("nginx", 4, 0.14, 48_000),
    ("python3", 3, 0.12, 95_000),
    ("node_exporter", 1, 0.03, 22_000),
    ("systemd-journal", 1, 0.03, 61_000),
    ("sshd", 2, 0.01, 9_000),
    ("kworker/u8:2", 1, 0.02, 0),
)
# The program that takes the rest of the load in bursts, and the one that takes it in one hour of the night.
BURST, NIGHTLY, NIGHTLY_HOUR = "cc1plus", "restic", 2
MOUNTS = (("/", 100 * GB, 41 * GB, 0.05 * GB), ("/srv/data", 2000 * GB, 1680 * GB, 9 * GB))


def insert_usage(connection: Connection, first: int, hours_from: int, end: int, seed: int) -> None:
    """Insert captures from `first` on, hours before them; file systems by the minute for a week and by the hour before.

    The host's own figure in a capture is the stored average of its minute; a minute without samples has no captures.
    """
    random = Random(seed)
    names = [name for name, *_ in PROGRAMS] + [BURST, NIGHTLY]
    connection.exec_driver_sql(
        "INSERT INTO process_name (name_id, name, last_ts) VALUES (?, ?, ?)",
        [(number, name, end) for number, name in enumerate(names, 1)],
    )
    captures, processes = [], []
    for ts, stretch_id, busy in _busy(connection, first, end):
        capacity = CAPTURE_SECONDS * CPUS * 1000
        captures.append((ts, stretch_id, CAPTURE_SECONDS * 1000, capacity, round(busy / 100 * capacity)))
        processes += [(ts, stretch_id, *usage) for usage in _usage(random, ts, busy / 100 * capacity)]
    connection.exec_driver_sql("INSERT INTO capture VALUES (?, ?, ?, ?, ?)", captures)
    connection.exec_driver_sql("INSERT INTO process VALUES (?, ?, ?, ?, ?, ?)", processes)
    _insert_hours(connection, random, hours_from, first // HOUR * HOUR)
    connection.exec_driver_sql("UPDATE use_progress SET hours_until = ?, captures_from = ?", [(first, first)])
    _insert_filesystems(connection, random, first, end)


def insert_forecasts(store: Store, end: int) -> None:
    """Insert the daemon's forecasts for the file systems, one on each of the last twenty days."""
    for now in range(end - 20 * DAY, end + 1, DAY):
        after: int | None = 0
        while after is not None:
            before = after
            after = store.write(lambda statements, before=before, now=now: foresee(statements, before, now))  # type: ignore[misc]


def _busy(connection: Connection, first: int, end: int) -> Iterator[tuple[int, int, float]]:
    """(stamp, stretch, busy percent) of each capture."""
    rows = connection.exec_driver_sql(
        "SELECT ts, cpu_percent_e2 / 100.0, (SELECT MAX(stretch_id) FROM stretch AS s WHERE s.start_ts <= m.ts + 60) "
        "FROM (SELECT ts, cpu_percent_e2 FROM minute UNION ALL SELECT ts / 60 * 60, AVG(cpu_percent_e2) FROM sample "
        "WHERE ts >= (SELECT minutes_until FROM progress) GROUP BY 1) AS m "
        "WHERE ts >= ? AND ts < ? AND cpu_percent_e2 IS NOT NULL ORDER BY ts",
        (first, end - MINUTE),
    ).all()
    for ts, busy, stretch_id in rows:
        yield ts + CAPTURE_SECONDS, stretch_id, busy
        yield ts + MINUTE, stretch_id, busy


def _usage(random: Random, ts: int, busy_ms: float) -> list[tuple[int, int, int, int]]:
    """(pid, name_id, cpu_ms, memory_kb) of the largest processes in one capture."""
    is_night = ts % DAY // HOUR == NIGHTLY_HOUR
    attributed = busy_ms * random.uniform(0.9, 0.97)
    usual = min(attributed, 0.25 * CAPTURE_SECONDS * CPUS * 1000)
    found = []
    for number, (_, count, share, memory) in enumerate(PROGRAMS, 1):
        for each in range(count):
            cpu = usual * share / count * random.uniform(0.7, 1.1)
            found.append((1000 * number + each, number, round(cpu), round(memory * (1 + 0.02 * math.sin(ts / HOUR)))))
    rest = attributed - sum(usage[2] for usage in found)
    number = len(PROGRAMS) + (2 if is_night else 1)
    if rest > 200:
        found.append((20_000 + ts // 600 % 10_000, number, round(rest), 180_000))
    by_cpu = sorted(found, key=lambda usage: -usage[2])[:KEPT]
    by_memory = sorted(found, key=lambda usage: -usage[3])[:KEPT]
    return list({usage[0]: usage for usage in (*by_cpu, *by_memory)}.values())


def _insert_hours(connection: Connection, random: Random, first: int, end: int) -> None:
    """Insert hours whose captures are gone, each with the names that a reduction keeps."""
    busy = connection.exec_driver_sql(
        "SELECT ts, covered_ms, cpu_percent_e2 / 10000.0 FROM hour WHERE ts >= ? AND ts < ? "
        "AND cpu_percent_e2 IS NOT NULL", (first, end)
    ).all()  # fmt: skip
    hours, usages = [], []
    for ts, covered, share in busy:
        capacity = covered * CPUS
        hours.append((ts, covered, capacity, capacity, round(share * capacity)))
        scale = covered / (CAPTURE_SECONDS * 1000)
        seen: dict[int, list[int]] = {}
        for pid, number, cpu, memory in _usage(random, ts, share * capacity / max(scale, 0.01)):
            usage = seen.setdefault(number, [0, 0, pid])
            usage[0], usage[1] = usage[0] + round(cpu * scale), usage[1] + memory
        usages += [(ts, number, cpu, memory, json.dumps([pid])) for number, (cpu, memory, pid) in seen.items()]
    if hours:
        connection.exec_driver_sql("INSERT INTO capture_hour VALUES (?, ?, ?, ?, ?)", hours)
        connection.exec_driver_sql("INSERT INTO process_hour VALUES (?, ?, ?, ?, ?)", usages)


def _insert_filesystems(connection: Connection, random: Random, first: int, end: int) -> None:
    """Insert file systems that grow every day, with a job at night that writes and cleans up again."""
    by_minute = max(first, end - 7 * DAY) // HOUR * HOUR
    begin = min(by_minute, end - 90 * DAY) // HOUR * HOUR
    stamps = [*range(begin, by_minute, HOUR), *range(by_minute, end, MINUTE)]
    for number, (path, total, used, growth) in enumerate(MOUNTS, 1):
        connection.exec_driver_sql("INSERT INTO mount VALUES (?, ?)", (number, path))
        wander, rows = 0.0, []
        for before, ts in zip([begin, *stamps], stamps, strict=False):
            wander += random.gauss(0, 0.06 * growth * math.sqrt((ts - before) / HOUR))
            night = growth / 2 * max(0.0, 1 - abs(ts % DAY - 2.5 * HOUR) / HOUR)
            kept = round(used + growth * (ts - end) / DAY + wander + night)
            rows.append((number, ts, 1, total, kept, total - kept - total // 20))
        connection.exec_driver_sql("INSERT INTO filesystem VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.exec_driver_sql("UPDATE use_progress SET thinned_until = ?", (by_minute,))
