"""What disks, interfaces, sensors and batteries did; inodes, type and device of file systems."""

from alembic import op

revision = "0007"
down_revision = "0006"

COLUMNS = {
    "mount": ("type TEXT", "device TEXT"),
    "filesystem": ("total_inodes INTEGER", "used_inodes INTEGER"),
}
_DISK = "read_sectors INTEGER, written_sectors INTEGER, read_operations INTEGER, written_operations INTEGER, "
_DISK += "busy_ms INTEGER, wait_ms INTEGER"
_INTERFACE = "received_bytes INTEGER, sent_bytes INTEGER, errors INTEGER, drops INTEGER"
_LINK = "state INTEGER, speed_mbit INTEGER"
_ROW = "ts INTEGER NOT NULL, stretch_id INTEGER NOT NULL, device_id INTEGER NOT NULL, covered_ms INTEGER NOT NULL, "
_BY_TIME = "PRIMARY KEY (ts, stretch_id, device_id)) WITHOUT ROWID"
_HOUR = "device_id INTEGER NOT NULL, ts INTEGER NOT NULL, covered_ms INTEGER NOT NULL, "
_BY_DEVICE = "PRIMARY KEY (device_id, ts)) WITHOUT ROWID"
TABLES = (
    "device (device_id INTEGER NOT NULL PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, "
    "is_virtual INTEGER NOT NULL, last_ts INTEGER NOT NULL, limit_e1 INTEGER, critical_e1 INTEGER, "
    "UNIQUE (kind, name))",
    f"disk_usage ({_ROW}{_DISK}, {_BY_TIME}",
    f"disk_hour ({_HOUR}{_DISK}, read_sectors_max INTEGER, written_sectors_max INTEGER, busy_ms_max INTEGER, "
    f"{_BY_DEVICE}",
    f"interface_usage ({_ROW}{_INTERFACE}, {_LINK}, {_BY_TIME}",
    f"interface_hour ({_HOUR}{_INTERFACE}, received_bytes_max INTEGER, sent_bytes_max INTEGER, {_LINK}, {_BY_DEVICE}",
    f"device_value ({_ROW}value_e1 INTEGER, state INTEGER, {_BY_TIME}",
    f"device_value_hour ({_HOUR}value_e2 INTEGER, value_min_e1 INTEGER, value_max_e1 INTEGER, state INTEGER, "
    f"{_BY_DEVICE}",
    "device_progress (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), hours_until INTEGER NOT NULL, "
    "rows_from INTEGER NOT NULL)",
)


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    for table in TABLES:
        op.execute(f"CREATE TABLE {table}")
    op.execute("INSERT INTO device_progress (only, hours_until, rows_from) VALUES (1, 0, 0)")
