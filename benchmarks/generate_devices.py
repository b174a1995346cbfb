"""Writes the part of a generated history that says what each disk, interface, sensor and battery did."""

import math
from random import Random

from sqlalchemy import Connection

from service.clock import DAY, HOUR
from service.store.device_schema import STATES

CAPTURE_SECONDS = 30
# kind, name, whether it is virtual, limit and critical (x 10); numbered from 1 on.
DEVICES = (
    ("disk", "nvme0n1", 0, None, None),
    ("disk", "sda", 0, None, None),
    ("interface", "lo", 0, None, None),
    ("interface", "eth0", 0, None, None),
    ("interface", "veth3f2a1c0", 1, None, None),
    ("sensor", "coretemp.0/Package id 0", 0, 840, 1000),
    ("sensor", "nvme0/Composite", 0, 818, 848),
    ("battery", "ups", 0, None, None),
)
_UP, _FULL, _DISCHARGING = STATES.index("up"), STATES.index("full"), STATES.index("discharging")
# Of the night in which the UPS had to help.
_OUTAGE_HOUR = 3


def insert_devices(connection: Connection, first: int, hours_from: int, end: int, seed: int) -> None:
    """Insert a row a device and capture from `first` on, and hours before and of them."""
    random = Random(seed)
    connection.exec_driver_sql(
        "INSERT INTO device (device_id, kind, name, is_virtual, limit_e1, critical_e1, last_ts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(number, *device, end) for number, device in enumerate(DEVICES, 1)],
    )
    captures = connection.exec_driver_sql(
        "SELECT ts, stretch_id, 1.0 * busy_ms / capacity_ms FROM capture WHERE ts >= ? AND ts < ? "
        "AND busy_ms IS NOT NULL AND capacity_ms > 0", (first, end)
    ).all()  # fmt: skip
    disks, interfaces, values = [], [], []
    for ts, stretch_id, busy in captures:
        key = (ts, stretch_id)
        disks += [(*key, *row) for row in _disks(random, ts, busy, CAPTURE_SECONDS)]
        interfaces += [(*key, *row) for row in _interfaces(random, ts, busy, CAPTURE_SECONDS)]
        values += [(*key, *row) for row in _values(random, ts, busy, CAPTURE_SECONDS)]
    _insert(connection, "disk_usage", disks)
    _insert(connection, "interface_usage", interfaces)
    _insert(connection, "device_value", values)
    _insert_hours(connection, random, hours_from, first // HOUR * HOUR)
    connection.exec_driver_sql("UPDATE device_progress SET hours_until = ?, rows_from = ?", [(first, first)])


def _disks(random: Random, ts: int, busy: float, seconds: int) -> list[tuple[int, ...]]:
    """(device, covered, read and written sectors, operations, busy and wait ms)."""
    night = 20 if ts % DAY // HOUR == 2 else 1
    found = []
    for number, share in ((1, 1.0), (2, 0.15 * night)):
        reads, writes = (round(seconds * share * busy * random.uniform(4, 30)) for _ in range(2))
        worked = min(1000 * seconds, 2 * reads + 3 * writes)
        found.append((number, 1000 * seconds, 64 * reads, 96 * writes, reads, writes, worked, 3 * worked))
    return found


def _interfaces(random: Random, ts: int, busy: float, seconds: int) -> list[tuple[int | None, ...]]:
    """(device, covered, received, sent, errors, drops, state, speed, errors and drops of what was sent, packets)."""
    moved = round(seconds * busy * random.uniform(1e5, 2e6))
    errors = 1 if ts % (6 * HOUR) < CAPTURE_SECONDS else 0
    covered = 1000 * seconds
    return [
        (3, covered, moved // 9, moved // 9, 0, 0, STATES.index("unknown"), None, 0, 0, moved // 9000, moved // 9000),
        (4, covered, moved, moved // 3, errors, 2 * errors, _UP, 1000, 0, errors, moved // 900, moved // 1500),
        (5, covered, moved // 5, moved // 7, 0, 0, _UP, 10_000, 0, 0, moved // 4000, moved // 5000),
    ]


def _values(random: Random, ts: int, busy: float, seconds: int) -> list[tuple[int, ...]]:
    """(device, covered, value, state)."""
    package = round(380 + 420 * busy + 15 * math.sin(ts / HOUR) + random.uniform(-5, 5))
    is_out = ts % (7 * DAY) // HOUR == _OUTAGE_HOUR
    charge = 1000 - 5 * (ts % HOUR) // 60 if is_out else 1000
    covered = 1000 * seconds
    return [
        (6, covered, package, None),
        (7, covered, 300 + package // 10, None),
        (8, covered, charge, _DISCHARGING if is_out else _FULL),
    ]  # type: ignore[list-item]


def _insert(connection: Connection, table: str, rows: list[tuple[int | None, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _insert_hours(connection: Connection, random: Random, first: int, end: int) -> None:
    """Insert hours whose rows are gone."""
    hours = connection.exec_driver_sql(
        "SELECT ts, covered_ms / 1000, cpu_percent_e2 / 10000.0 FROM hour WHERE ts >= ? AND ts < ? "
        "AND cpu_percent_e2 IS NOT NULL AND covered_ms >= 1000", (first, end)
    ).all()  # fmt: skip
    disks, interfaces, values = [], [], []
    for ts, covered, busy in hours:
        for number, *rest in _disks(random, ts, busy, covered):
            fastest = (rest[1] // covered * 3, rest[2] // covered * 3, min(1000, rest[5] // covered * 2))
            disks.append((number, ts, *rest, *fastest))
        for number, length, received, sent, errors, drops, *link in _interfaces(random, ts, busy, covered):
            fastest = (3 * (received or 0) // covered, 3 * (sent or 0) // covered)
            interfaces.append((number, ts, length, received, sent, errors, drops, *fastest, *link))
        for number, length, value, state in _values(random, ts, busy, covered):
            least, most = (value, value) if number == 8 else (value - 40, value + 90)
            values.append((number, ts, length, 10 * value, least, most, state))
    for table, rows in (("disk_hour", disks), ("interface_hour", interfaces), ("device_value_hour", values)):
        _insert(connection, table, rows)
