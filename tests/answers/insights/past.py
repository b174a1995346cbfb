"""Histories in which the rules find something, and the proof of what they find."""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from service.answers.insights import memory
from service.answers.insights.found import findings
from service.answers.insights.rules import Asked, Finding
from service.clock import DAY, HOUR, MINUTE, rfc3339
from service.metrics import BY_NAME
from service.records import Break, DeviceKind, DeviceReading, DeviceUsage, ServiceUsage
from service.store import devices, schema
from service.store.reader import History
from service.store.schema import encode
from service.store.statements import Statements
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record, all_values

GB = 10**9
MB = 10**6


class Past:
    """Writes a history that rules find something in, up to NOW."""

    def __init__(self, store: Store, record: Record, fill: Fill) -> None:
        self.store, self.record, self.fill = store, record, fill

    def rows(self, table: str, rows: Any) -> None:
        def write(statements: Statements) -> None:
            for row in rows:
                names = ", ".join(row)
                statements.run(
                    f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
                )

        self.store.write(write)

    def tier(self, table: str, stamps: Any, **values: Callable[[int], float]) -> None:
        """Rollup rows at the stamps, as far apart as the tier's buckets; a gauge's extremes are its average; the
        values of a counter are its increases."""
        seconds = HOUR if table == "hour" else MINUTE
        rows = []
        for ts in stamps:
            row: dict[str, Any] = {"ts": ts, "samples": seconds // 5, "covered_ms": seconds * 1000}
            for name, value in values.items():
                metric = BY_NAME[name]
                if metric.is_counter:
                    row[schema.stored(metric, "_increase")] = round(value(ts))
                    continue
                row[schema.stored_average(metric)] = round(value(ts) * 100)
                row[schema.stored(metric, "_min")] = row[schema.stored(metric, "_max")] = encode(
                    value(ts), metric.scale
                )
            rows.append(row)
        self.rows(table, rows)

    def hours(self, days: int, **gauges: Callable[[int], float]) -> None:
        self.tier("hour", range(NOW - days * DAY, NOW, HOUR), **gauges)

    def minutes(self, count: int, **gauges: Callable[[int], float]) -> None:
        self.tier("minute", range(NOW - count * MINUTE, NOW, MINUTE), **gauges)

    def cpus(self) -> None:
        """The host has four."""
        self.record(NOW - 30, 1.0)

    def grows(self, name: str, pid: int, captures: int, memory: Callable[[int], float]) -> None:
        for number in range(captures):
            self.record(NOW - 30 * (captures - number), 1.0, (name, pid, 0.1, int(memory(number))))

    def device(self, kind: DeviceKind, name: str, ts: int, covered: float, *values: float | None, **more: Any) -> None:
        row = DeviceUsage(kind, name, ts, covered, all_values(kind, values), DeviceReading(values, **more))
        self.store.write(lambda statements: devices.insert(statements, [row], 1))

    def disk(self, captures: int, busy: float, wait: float | None) -> None:
        """So busy, in percent; two operations a capture that took so long, in ms, or none."""
        done = (2, 2, busy * 300, 4 * (wait or 0)) if wait is not None else (0, 0, busy * 300, 0)
        for number in range(captures):
            self.device("disk", "sda", NOW - 30 * number, 30, 0, MB, *done)

    def errors(self, *counts: int) -> None:
        """Of an interface, in each of the last hours."""
        for number, count in enumerate(counts):
            self.device("interface", "eth0", NOW - number * HOUR, 300, MB, MB, count, 0)

    def sensor(
        self, high: float, limit: float | None = None, critical: float | None = None, count: int = 10, low: float = 40
    ) -> None:
        for number in range(count + 1):
            celsius = high if number else low
            self.device("sensor", "nvme0/Composite", NOW - 60 * number, 60, celsius, limits=(limit, critical))

    def uses(self, captures: int, service: str, written_bytes: int = 0, oom_kills: int = 0) -> None:
        used = ServiceUsage(service, "service", 0.1, MB, 0, written_bytes, oom_kills)
        for number in range(captures):
            self.record(NOW - 30 * number, 1.0, services=[used])

    def mount(self, used: int, available: int, path: str = "/srv") -> None:
        self.rows("mount", [{"mount_id": 1, "path": path}])
        self.mount_is(used, available)

    def mount_is(self, used: int, available: int) -> None:
        sizes = {"total_kb": (used + available) * MB, "used_kb": used * MB, "available_kb": available * MB}
        self.rows("filesystem", [{"mount_id": 1, "ts": NOW - 60, "stretch_id": 1, **sizes}])

    def foretold(self, days: float, made: int = NOW - 600, latest: float | None = 30, path: str = "/srv") -> None:
        self.rows("mount", [{"mount_id": 1, "path": path}])
        moments: dict[str, int | None] = {
            "earliest_ts": NOW + int(days * DAY),
            "middle_ts": NOW + int((days + 1) * DAY),
        }
        moments["latest_ts"] = None if latest is None else NOW + int((days + latest) * DAY)
        sizes = {"level_kb": 10**8, "growth_kb_per_day": 10**6, "watched_until": made}
        self.rows("forecast", [{"mount_id": 1, "made_ts": made, "is_full": 1, **sizes, **moments}])

    def gaps(self, count: int, reason: str) -> None:
        for number in range(count):
            end = NOW - DAY + number * HOUR
            self.fill(end, 2, begins=Break(end - 600, reason))  # type: ignore[arg-type]

    def killed(self, count: int) -> None:
        for number in range(count + 1):
            self.store.begin_run(NOW - DAY + number * HOUR, None, "boot-1", "0.1.0", 5)

    def nightly(self) -> None:
        """The name backup uses the CPU most at 03:00."""
        self.rows(
            "process_name", [{"name_id": n, "name": name, "last_ts": NOW} for n, name in ((90, "backup"), (91, "web"))]
        )
        hours = [ts for ts in range(NOW - 15 * DAY, NOW, HOUR) if ts // HOUR % 24 == 3]
        self.rows(
            "capture_hour", [{"ts": t, "covered_ms": 1, "capacity_ms": 4, "known_ms": 4, "busy_ms": 1} for t in hours]
        )
        for name_id, cpu in ((90, 9000), (91, 100)):
            rows = [{"ts": ts, "name_id": name_id, "cpu_ms": cpu, "memory_kb": 1, "pids": "[]"} for ts in hours]
            self.rows("process_hour", rows)

    def leak_over_days(self, rises: bool) -> None:
        """The name daemon holds more on each day, or else more on every second."""
        first = NOW // DAY * DAY - memory.DAILY_GROWTH_DAYS * DAY
        hours = range(first, NOW // DAY * DAY, HOUR)
        self.rows("process_name", [{"name_id": 90, "name": "daemon", "last_ts": NOW}])
        self.rows(
            "capture_hour", [{"ts": t, "covered_ms": 1, "capacity_ms": 4, "known_ms": 4, "busy_ms": 1} for t in hours]
        )
        for ts in hours:
            grown = (ts - first) // DAY * 60_000 if rises else 300_000 * ((ts - first) // DAY % 2)
            row = {
                "ts": ts,
                "name_id": 90,
                "cpu_ms": 1,
                "memory_kb": 400_000 + grown + ts // HOUR % 24 * 100,
                "pids": "[]",
            }
            self.rows("process_hour", [row])


def daily(low: float, high: float, hour: int = 3, seed: int = 1) -> Callable[[int], float]:
    """Low with some noise, and high in one hour of each day."""
    random = Random(seed)
    return lambda ts: (high if ts // HOUR % 24 == hour else low) + random.uniform(0, 3)


def steady(value: float) -> Callable[[int], float]:
    return lambda ts: value


def found_in(
    path: Path,
    ask: Callable[[Asked], Iterable[Finding]] = findings,
    offset: Callable[[int], int] = lambda ts: 0,
    now: int = NOW,
) -> list[Finding]:
    """What a rule, or all of them, find at `now`; local time is so far ahead of UTC."""
    history = History(path)
    with history.view() as view:
        found = list(ask(Asked(view.select, now + 1, rfc3339, offset)))
    history.close()
    return found


def proven(path: Path, finding: Finding) -> None:
    """The SQL, run as anyone would at a prompt, gives the numbers of the finding."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    cursor = connection.execute(finding.sql)
    columns = [column[0] for column in cursor.description]
    (row,) = cursor.fetchall()
    connection.close()
    given = dict(zip(columns, row, strict=True))
    assert {key: given[key] for key in finding.evidence} == finding.evidence
    assert all(value is None or isinstance(value, (int, float)) for value in finding.evidence.values())
    assert finding.evidence
