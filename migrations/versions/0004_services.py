"""Captures hold names whole, what their ended children used, and services; hours of them are reduced to days.

What was recorded before stays as it is: a capture of then has a row for each process that it kept, and no names.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

COLUMNS = {
    "capture": ("process_count INTEGER", "memory_kb INTEGER"),
    "process": ("process_count INTEGER", "children_ms INTEGER", "service_id INTEGER"),
    "capture_hour": ("memory_kb INTEGER",),
    "process_hour": ("process_count INTEGER", "children_ms INTEGER", "average_kb INTEGER"),
    "use_progress": ("days_until INTEGER NOT NULL DEFAULT 0", "merged_until INTEGER NOT NULL DEFAULT 0"),
}
TABLES = (
    "service (service_id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, "
    "last_ts INTEGER NOT NULL)",
    "service_usage (ts INTEGER NOT NULL, stretch_id INTEGER NOT NULL, service_id INTEGER NOT NULL, "
    "cpu_ms INTEGER NOT NULL, memory_kb INTEGER, read_kb INTEGER, written_kb INTEGER, oom_kills INTEGER, "
    "PRIMARY KEY (ts, stretch_id, service_id)) WITHOUT ROWID",
    "service_hour (ts INTEGER NOT NULL, service_id INTEGER NOT NULL, cpu_ms INTEGER NOT NULL, memory_kb INTEGER, "
    "average_kb INTEGER, read_kb INTEGER, written_kb INTEGER, oom_kills INTEGER, "
    "PRIMARY KEY (ts, service_id)) WITHOUT ROWID",
    "capture_day (ts INTEGER NOT NULL PRIMARY KEY, covered_ms INTEGER NOT NULL, capacity_ms INTEGER NOT NULL, "
    "known_ms INTEGER NOT NULL, busy_ms INTEGER NOT NULL, memory_kb INTEGER)",
    "process_day (ts INTEGER NOT NULL, name_id INTEGER NOT NULL, cpu_ms INTEGER NOT NULL, memory_kb INTEGER NOT NULL, "
    "process_count INTEGER, children_ms INTEGER, average_kb INTEGER, PRIMARY KEY (ts, name_id)) WITHOUT ROWID",
    "service_day (ts INTEGER NOT NULL, service_id INTEGER NOT NULL, cpu_ms INTEGER NOT NULL, memory_kb INTEGER, "
    "average_kb INTEGER, read_kb INTEGER, written_kb INTEGER, oom_kills INTEGER, "
    "PRIMARY KEY (ts, service_id)) WITHOUT ROWID",
)


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    for table in TABLES:
        op.execute(f"CREATE TABLE {table}")
    op.execute("CREATE INDEX service_hour_service ON service_hour (service_id)")
