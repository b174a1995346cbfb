"""What devices did as rows; their reduction to hours, and what of them is deleted, are in `device_rollups`."""

from collections.abc import Sequence

from service.clock import DAY, HOUR
from service.records import DeviceReading, DeviceUsage
from service.store.device_schema import COUNTED, SECTOR, STATES
from service.store.statements import Statements

_TABLES = {"disk": "disk_usage", "interface": "interface_usage", "sensor": "device_value", "battery": "device_value"}
_COLUMNS = {
    "disk": COUNTED["disk"],
    "interface": (*COUNTED["interface"], "state", "speed_mbit"),
    "sensor": ("value_e1", "state"),
    "battery": ("value_e1", "state"),
}
# What is beyond is none that a device has.
_GREATEST = 2**56


def _statement(kind: str) -> str:
    columns = ("ts", "stretch_id", "device_id", "covered_ms", *_COLUMNS[kind])
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {_TABLES[kind]} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"


_INSERT = {kind: _statement(kind) for kind in _TABLES}


def insert(statements: Statements, rows: Sequence[DeviceUsage], stretch_id: int) -> None:
    """Store what devices did; the same again changes nothing."""
    numbers: dict[tuple[str, str], int] = {}
    by_kind: dict[str, list[tuple[int | None, ...]]] = {}
    for row in rows:
        key = row.kind, row.name
        if key not in numbers:
            numbers[key] = _device_id(statements, row)
        covered = max(1, round(row.covered_seconds * 1000))
        by_kind.setdefault(row.kind, []).append((row.ts, stretch_id, numbers[key], covered, *_values(row)))
    for kind, values in by_kind.items():
        statements.run_each(_INSERT[kind], values)
    if rows:
        # The clock was set back into an hour that is reduced already, or a row comes late: reduce it again, by the
        # row's middle.
        first = int(min(row.ts - row.covered_seconds / 2 for row in rows))
        statements.run(
            "UPDATE device_progress SET hours_until = MIN(hours_until, ?) WHERE hours_until > ?",
            (first // HOUR * HOUR, first),
        )


def _values(row: DeviceUsage) -> tuple[int | None, ...]:
    if row.kind == "disk":
        read, written, *others = row.values
        return (_whole(read, 1 / SECTOR), _whole(written, 1 / SECTOR), *map(_whole, others))
    if row.kind == "interface":
        return (*map(_whole, row.values), _state(row.reading), row.reading.speed_mbit)
    return (_whole(row.values[0], 10), _state(row.reading))


def _whole(value: float | None, scale: float = 1) -> int | None:
    """Unknown where it is none that SQLite holds."""
    return None if value is None or not -_GREATEST < value < _GREATEST else round(value * scale)


def _state(reading: DeviceReading) -> int | None:
    return STATES.index(reading.state) if reading.state in STATES else None


def _device_id(statements: Statements, row: DeviceUsage) -> int:
    """Its number, a new one where it has none; its limits, and that it still occurs (once a day), are noted."""
    limits = tuple(_whole(limit, 10) for limit in row.reading.limits)
    known = statements.row(
        "SELECT device_id, last_ts, is_virtual, limit_e1, critical_e1 FROM device WHERE kind = ? AND name = ?",
        (row.kind, row.name),
    )
    if known is None:
        ((number,),) = statements.rows(
            "INSERT INTO device (kind, name, is_virtual, last_ts, limit_e1, critical_e1) VALUES (?, ?, ?, ?, ?, ?) "
            "RETURNING device_id",
            (row.kind, row.name, int(row.reading.is_virtual), row.ts, *limits),
        )
        return int(number)
    number, last, *noted = known
    if row.ts >= last + DAY or tuple(noted) != (int(row.reading.is_virtual), *limits):
        statements.run(
            "UPDATE device SET last_ts = MAX(last_ts, ?), is_virtual = ?, limit_e1 = ?, critical_e1 = ? "
            "WHERE device_id = ?",
            (row.ts, int(row.reading.is_virtual), *limits, number),
        )
    return int(number)
