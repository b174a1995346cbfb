"""The tables and public views of devices: what disks, interfaces, sensors and batteries did, by row and by hour.

A row stands for the `covered_ms` before `ts`. A device without a row for some time was not there, or could not be read;
what did nothing has a row of zeros, which may stand for many captures.
"""

from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, UniqueConstraint

from service.store.statements import utc_text

# Of a sector, in which bytes of disks are counted.
SECTOR = 512
# As states are stored: their place in this list. What is not in it is stored as NULL.
STATES = (
    *("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"),
    *("charging", "discharging", "not charging", "full"),
)
# What is counted of each kind of device, as it is stored.
COUNTED = {
    "disk": ("read_sectors", "written_sectors", "read_operations", "written_operations", "busy_ms", "wait_ms"),
    "interface": (
        *("received_bytes", "sent_bytes", "errors", "drops"),
        *("sent_errors", "sent_drops", "received_packets", "sent_packets"),
    ),
}
# So many of them stand before the others in the tables of interfaces, which came later (revision 0009).
_FIRST_COUNTED = 4
# The fastest row of an hour, in what is counted per second.
FASTEST = {
    "disk": ("read_sectors", "written_sectors", "busy_ms"),
    "interface": ("received_bytes", "sent_bytes"),
}
_LINK = ("state", "speed_mbit")
# The tables of rows.
ROWS = ("disk_usage", "interface_usage", "device_value")
HOURS = ("disk_hour", "interface_hour", "device_value_hour")


def define(metadata: MetaData) -> None:
    """Add the tables of devices to the schema."""
    # `last_ts`: when it was last seen, to the day. `limit_e1`, `critical_e1`: of a sensor, as they were last, x 10.
    Table(
        "device",
        metadata,
        Column("device_id", Integer, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("is_virtual", Integer, nullable=False),
        Column("last_ts", Integer, nullable=False),
        Column("limit_e1", Integer),
        Column("critical_e1", Integer),
        UniqueConstraint("kind", "name"),
    )
    # Counters are what was counted in the row's time, NULL where that is not known.
    fastest = {kind: tuple(f"{name}_max" for name in names) for kind, names in FASTEST.items()}
    _rows(metadata, "disk_usage", COUNTED["disk"])
    _hours(metadata, "disk_hour", (*COUNTED["disk"], *fastest["disk"]))
    first, later = COUNTED["interface"][:_FIRST_COUNTED], COUNTED["interface"][_FIRST_COUNTED:]
    _rows(metadata, "interface_usage", (*first, *_LINK, *later))
    _hours(metadata, "interface_hour", (*first, *fastest["interface"], *_LINK, *later))
    # Of sensors and batteries, x 10; averages of hours x 100.
    _rows(metadata, "device_value", ("value_e1", "state"))
    _hours(metadata, "device_value_hour", ("value_e2", "value_min_e1", "value_max_e1", "state"))
    # One row: rows are reduced to hours for ts < `hours_until`, and whole from `rows_from` on.
    Table(
        "device_progress",
        metadata,
        Column("only", Integer, CheckConstraint("only = 1"), primary_key=True),
        Column("hours_until", Integer, nullable=False),
        Column("rows_from", Integer, nullable=False),
    )


def _rows(metadata: MetaData, name: str, values: tuple[str, ...]) -> None:
    """By time first: they are appended, and go by time."""
    keys = (Column(key, Integer, primary_key=True) for key in ("ts", "stretch_id", "device_id"))
    Table(name, metadata, *keys, *_columns(values), sqlite_with_rowid=False)


def _hours(metadata: MetaData, name: str, values: tuple[str, ...]) -> None:
    """By device first: what is asked is the course of one, over years. `covered_ms`: the time in which its values were
    known."""
    keys = (Column(key, Integer, primary_key=True) for key in ("device_id", "ts"))
    Table(name, metadata, *keys, *_columns(values), sqlite_with_rowid=False)


def _columns(values: tuple[str, ...]) -> Iterator[Column[int]]:
    yield Column("covered_ms", Integer, nullable=False)
    for name in values:
        yield Column(name, Integer)


# -- views


def state_text(column: str) -> str:
    """In SQL: the word of a stored state."""
    return f"CASE {column} {' '.join(f'WHEN {n} THEN {_quoted(word)}' for n, word in enumerate(STATES))} END"


def _quoted(word: str) -> str:
    return f"'{word}'"


def _head(name: str) -> str:
    return f"SELECT ts, {utc_text('ts')} AS time, covered_ms / 1000.0 AS covered_seconds, name AS {name}"


def _of(table: str, kind: str) -> str:
    """Rows first, by time; hours by device."""
    if table.endswith("_hour"):
        return f"FROM device CROSS JOIN {table} USING (device_id) WHERE kind = '{kind}'"
    return f"FROM {table} CROSS JOIN device USING (device_id) WHERE kind = '{kind}'"


BUSY_PERCENT = "MIN(100.0, 100.0 * busy_ms / covered_ms)"
WAIT_MS = "1.0 * wait_ms / (read_operations + written_operations)"
_DISK = (
    f"read_sectors * {SECTOR} AS read_bytes, written_sectors * {SECTOR} AS written_bytes, {BUSY_PERCENT} AS "
    f"busy_percent, read_operations, written_operations, {WAIT_MS} AS wait_ms"
)
_INTERFACE = f"received_bytes, sent_bytes, errors, drops, {state_text('state')} AS state, speed_mbit"
_DIRECTIONS = (
    "errors - sent_errors AS received_errors, sent_errors, drops - sent_drops AS received_drops, sent_drops, "
    "received_packets, sent_packets"
)
_LIMITS = "limit_e1 / 10.0 AS limit_celsius, critical_e1 / 10.0 AS critical_celsius"
_HOUR_VALUE = "value_e2 / 100.0 AS {0}, value_min_e1 / 10.0 AS {0}_min, value_max_e1 / 10.0 AS {0}_max"


def views() -> dict[str, str]:
    """The public views, name -> SELECT."""
    return {
        "disks": f"{_head('disk')}, {_DISK} {_of('disk_usage', 'disk')}",
        "disk_hours": (
            f"{_head('disk')}, {_DISK}, read_sectors_max * {SECTOR} AS read_bytes_per_second_max, "
            f"written_sectors_max * {SECTOR} AS written_bytes_per_second_max, "
            f"MIN(100.0, busy_ms_max / 10.0) AS busy_percent_max {_of('disk_hour', 'disk')}"
        ),
        "interfaces": f"{_head('interface')}, {_INTERFACE}, {_DIRECTIONS} {_of('interface_usage', 'interface')}",
        "interface_hours": (
            f"{_head('interface')}, {_INTERFACE}, received_bytes_max AS received_bytes_per_second_max, "
            f"sent_bytes_max AS sent_bytes_per_second_max, {_DIRECTIONS} {_of('interface_hour', 'interface')}"
        ),
        "sensors": f"{_head('sensor')}, value_e1 / 10.0 AS celsius, {_LIMITS} {_of('device_value', 'sensor')}",
        "sensor_hours": (
            f"{_head('sensor')}, {_HOUR_VALUE.format('celsius')}, {_LIMITS} {_of('device_value_hour', 'sensor')}"
        ),
        "batteries": (
            f"{_head('battery')}, value_e1 / 10.0 AS percent, {state_text('state')} AS status "
            f"{_of('device_value', 'battery')}"
        ),
        "battery_hours": (
            f"{_head('battery')}, {_HOUR_VALUE.format('percent')}, {state_text('state')} AS status "
            f"{_of('device_value_hour', 'battery')}"
        ),
    }
