"""Writes the part of a generated history that says who used the host and how full its file systems were."""

import json
import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from sqlalchemy import Connection

from service.clock import DAY, HOUR, MINUTE
from service.recording.foresight import foresee
from service.store.writer import Store

CAPTURE_SECONDS = 30
CPUS = 4
KEPT = 5
GB = 10**6  # in kB, in which sizes are stored
# name, processes, share of the daytime load, resident memory of each in kB, service
PROGRAMS = (
    ("postgres", 6, 0.34, 310_000, "postgresql@15-main.service"),
    ("java", 1, 0.22, 2_400_000, "docker:6f2b1c0d9e8a"),
    ("nginx", 4, 0.14, 48_000, "nginx.service"),
    ("python3", 3, 0.12, 95_000, "docker:aa01bb02cc03"),
    ("node_exporter", 1, 0.03, 22_000, "prometheus-node-exporter.service"),
    ("systemd-journal", 1, 0.03, 61_000, "systemd-journald.service"),
    ("sshd", 2, 0.01, 9_000, "ssh.service"),
    ("dbus-daemon", 1, 0.005, 5_000, "dbus.service"),
    ("systemd", 2, 0.01, 14_000, "init.scope"),
    ("dockerd", 1, 0.02, 88_000, "docker.service"),
    ("containerd", 1, 0.02, 52_000, "containerd.service"),
    ("kworker/u8:2", 1, 0.02, 0, None),
)
# The program that takes the rest of the load in bursts, and the one that takes it in one hour of the night.
BURST, NIGHTLY, NIGHTLY_HOUR = "cc1plus", "restic", 2
BURST_SERVICE = "user-1000/session-3.scope"
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
    connection.exec_driver_sql(
        "INSERT INTO service (service_id, name, kind, last_ts) VALUES (?, ?, ?, ?)",
        [(number, name, _kind(name), end) for number, name in enumerate(SERVICES, 1)],
    )
    captures, processes, used = [], [], []
    for ts, stretch_id, busy in _busy(connection, first, end):
        capacity = CAPTURE_SECONDS * CPUS * 1000
        usage = _usage(random, ts, busy / 100 * capacity)
        memory = sum(row.memory_kb for row in usage if row.pid > 0)
        used_ms, files = round(busy / 100 * capacity), round(1200 + 8 * busy)
        captures.append(
            (ts, stretch_id, CAPTURE_SECONDS * 1000, capacity, used_ms, 140, memory + 400_000, files, 1_600_000)
        )
        kept = _kept(usage)
        processes += [(ts, stretch_id, *row) for row in kept]
        used += [(ts, stretch_id, *row) for row in _services(usage)]
    connection.exec_driver_sql("INSERT INTO capture VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", captures)
    connection.exec_driver_sql("INSERT INTO process VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", processes)
    connection.exec_driver_sql("INSERT INTO service_usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", used)
    _insert_hours(connection, random, hours_from, first // HOUR * HOUR)
    connection.exec_driver_sql("UPDATE use_progress SET hours_until = ?, captures_from = ?", [(first, first)])
    _insert_filesystems(connection, random, first, end)


def _kind(service: str) -> str:
    return "container" if ":" in service else "scope" if service.endswith(".scope") else "service"


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


class Row(NamedTuple):
    """A row of the table `process`, without its capture."""

    pid: int
    name_id: int
    cpu_ms: int
    memory_kb: int
    process_count: int | None
    children_ms: int
    service_id: int | None


SERVICES = list(dict.fromkeys([program[4] for program in PROGRAMS if program[4]] + [BURST_SERVICE]))


def _usage(random: Random, ts: int, busy_ms: float) -> list[Row]:
    """All names and processes in one capture."""
    is_night = ts % DAY // HOUR == NIGHTLY_HOUR
    attributed = busy_ms * random.uniform(0.95, 0.99)
    usual = min(attributed, 0.25 * CAPTURE_SECONDS * CPUS * 1000)
    found = []
    for number, (_, count, share, memory, service) in enumerate(PROGRAMS, 1):
        service_id = SERVICES.index(service) + 1 if service else None
        of_one = []
        for each in range(count):
            cpu = usual * share / count * random.uniform(0.7, 1.1)
            size = round(memory * (1 + 0.02 * math.sin(ts / HOUR)))
            alone = 1 if count == 1 else None
            of_one.append(Row(1000 * number + each, number, round(cpu), size, alone, 0, service_id))
        found += of_one
        if count > 1:
            cpu_ms, memory_kb = sum(row.cpu_ms for row in of_one), sum(row.memory_kb for row in of_one)
            found.append(Row(-number, number, cpu_ms, memory_kb, count, 0, service_id))
    rest = round(attributed) - sum(row.cpu_ms for row in found if row.process_count)
    number = len(PROGRAMS) + (2 if is_night else 1)
    if rest > 200:
        service_id = SERVICES.index(BURST_SERVICE) + 1
        found.append(Row(20_000 + ts // 600 % 10_000, number, rest, 180_000, 1, rest // 2, service_id))
    return found


def _kept(usage: list[Row]) -> list[Row]:
    """What a capture keeps of it (`service.host.processes`)."""
    singles, names = [row for row in usage if row.pid > 0], [row for row in usage if row.process_count]
    processes = {
        *sorted(singles, key=lambda row: -row.cpu_ms)[:KEPT],
        *sorted(singles, key=lambda row: -row.memory_kb)[:KEPT],
    }
    among = {row.name_id for row in processes}
    by_cpu, by_memory = (
        sorted(names, key=lambda row: -row.cpu_ms)[: 2 * KEPT],
        sorted(names, key=lambda row: -row.memory_kb)[:KEPT],
    )
    return list({*processes, *by_cpu, *by_memory, *(row for row in names if row.name_id in among)})


def _services(usage: list[Row]) -> list[tuple[int | None, ...]]:
    """(service_id, cpu_ms, memory_kb, read_kb, written_kb, oom_kills) of each service that used something."""
    found: dict[int, list[int]] = {}
    for row in usage:
        if row.service_id is not None and row.process_count:
            used = found.setdefault(row.service_id, [0, 0])
            used[0], used[1] = used[0] + row.cpu_ms, used[1] + row.memory_kb
    return [
        (number, cpu, memory, cpu % 50 * 4, cpu % 90 * 8, 0)
        for number, (cpu, memory) in found.items()
        if cpu >= 10 or memory > 60_000
    ]


def _insert_hours(connection: Connection, random: Random, first: int, end: int) -> None:
    """Insert hours whose captures are gone, each with the names and services that a reduction keeps."""
    busy = connection.exec_driver_sql(
        "SELECT ts, covered_ms, cpu_percent_e2 / 10000.0 FROM hour WHERE ts >= ? AND ts < ? "
        "AND cpu_percent_e2 IS NOT NULL", (first, end)
    ).all()  # fmt: skip
    hours, names, services = [], [], []
    for ts, covered, share in busy:
        capacity = covered * CPUS
        scale = covered / (CAPTURE_SECONDS * 1000)
        usage = _usage(random, ts, share * capacity / max(scale, 0.01))
        memory = sum(row.memory_kb for row in usage if row.pid > 0) + 400_000
        hours.append((ts, covered, capacity, capacity, round(share * capacity), memory))
        pids: dict[int, list[int]] = {}
        for row in _kept(usage):
            if row.pid > 0:
                pids.setdefault(row.name_id, []).append(row.pid)
        names += [
            (ts, row.name_id, round(row.cpu_ms * scale), row.memory_kb, json.dumps(pids.get(row.name_id, [])),
             row.process_count, round(row.children_ms * scale), row.memory_kb)
            for row in usage
            if row.process_count
        ]  # fmt: skip
        services += [
            (
                ts,
                number,
                round((cpu or 0) * scale),
                memory,
                memory,
                round((read or 0) * scale),
                round((written or 0) * scale),
                kills,
            )
            for number, cpu, memory, read, written, kills in _services(usage)
        ]
    if hours:
        connection.exec_driver_sql("INSERT INTO capture_hour VALUES (?, ?, ?, ?, ?, ?)", hours)
        connection.exec_driver_sql(
            "INSERT INTO process_hour (ts, name_id, cpu_ms, memory_kb, pids, process_count, children_ms, average_kb) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            names,
        )
        connection.exec_driver_sql("INSERT INTO service_hour VALUES (?, ?, ?, ?, ?, ?, ?, ?)", services)


def _insert_filesystems(connection: Connection, random: Random, first: int, end: int) -> None:
    """Insert file systems that grow every day, with a job at night that writes and cleans up again."""
    by_minute = max(first, end - 7 * DAY) // HOUR * HOUR
    begin = min(by_minute, end - 90 * DAY) // HOUR * HOUR
    stamps = [*range(begin, by_minute, HOUR), *range(by_minute, end, MINUTE)]
    for number, (path, total, used, growth) in enumerate(MOUNTS, 1):
        connection.exec_driver_sql(
            "INSERT INTO mount (mount_id, path, type, device) VALUES (?, ?, 'ext4', ?)",
            (number, path, f"/dev/vd{'ab'[number - 1]}1"),
        )
        wander, rows = 0.0, []
        for before, ts in zip([begin, *stamps], stamps, strict=False):
            wander += random.gauss(0, 0.06 * growth * math.sqrt((ts - before) / HOUR))
            night = growth / 2 * max(0.0, 1 - abs(ts % DAY - 2.5 * HOUR) / HOUR)
            kept = round(used + growth * (ts - end) / DAY + wander + night)
            rows.append((number, ts, 1, total, kept, total - kept - total // 20, total // 16, kept // 40))
        connection.exec_driver_sql("INSERT INTO filesystem VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.exec_driver_sql("UPDATE use_progress SET thinned_until = ?", (by_minute,))
