"""Captures of the processes that used the host, how full its file systems are, and forecasts of when they are full."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = (
    "process_name (name_id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_ts INTEGER NOT NULL)",
    "capture (ts INTEGER NOT NULL, stretch_id INTEGER NOT NULL, covered_ms INTEGER NOT NULL, "
    "capacity_ms INTEGER NOT NULL, busy_ms INTEGER, PRIMARY KEY (ts, stretch_id)) WITHOUT ROWID",
    "process (ts INTEGER NOT NULL, stretch_id INTEGER NOT NULL, pid INTEGER NOT NULL, name_id INTEGER NOT NULL, "
    "cpu_ms INTEGER NOT NULL, memory_kb INTEGER NOT NULL, PRIMARY KEY (ts, stretch_id, pid)) WITHOUT ROWID",
    "capture_hour (ts INTEGER NOT NULL PRIMARY KEY, covered_ms INTEGER NOT NULL, capacity_ms INTEGER NOT NULL, "
    "known_ms INTEGER NOT NULL, busy_ms INTEGER NOT NULL)",
    "process_hour (ts INTEGER NOT NULL, name_id INTEGER NOT NULL, cpu_ms INTEGER NOT NULL, "
    "memory_kb INTEGER NOT NULL, pids TEXT NOT NULL, PRIMARY KEY (ts, name_id)) WITHOUT ROWID",
    "use_progress (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), hours_until INTEGER NOT NULL, "
    "captures_from INTEGER NOT NULL, thinned_until INTEGER NOT NULL)",
    "mount (mount_id INTEGER NOT NULL PRIMARY KEY, path TEXT NOT NULL UNIQUE)",
    "filesystem (mount_id INTEGER NOT NULL, ts INTEGER NOT NULL, stretch_id INTEGER NOT NULL, "
    "total_kb INTEGER NOT NULL, used_kb INTEGER NOT NULL, available_kb INTEGER NOT NULL, "
    "PRIMARY KEY (mount_id, ts, stretch_id)) WITHOUT ROWID",
    "forecast (mount_id INTEGER NOT NULL, made_ts INTEGER NOT NULL, is_full INTEGER NOT NULL, "
    "level_kb INTEGER NOT NULL, growth_kb_per_day INTEGER NOT NULL, earliest_ts INTEGER NOT NULL, "
    "middle_ts INTEGER NOT NULL, latest_ts INTEGER, reached_ts INTEGER, watched_until INTEGER NOT NULL, "
    "PRIMARY KEY (mount_id, made_ts, is_full)) WITHOUT ROWID",
)


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"CREATE TABLE {table}")
    op.execute("CREATE INDEX process_hour_name ON process_hour (name_id)")
    op.execute("INSERT INTO use_progress VALUES (1, 0, 0, 0)")
