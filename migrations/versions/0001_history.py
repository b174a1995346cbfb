"""Runs, stretches, samples, minutes, hours: the first schema.

This file never changes: it does not follow service.metrics, whose later metrics come with later revisions.
"""

from alembic import op

revision = "0001"
down_revision = None

# (metric, suffix of its column: `_e2` where the column holds the value x 100)
GAUGES = [
    ("cpu_percent", "_e2"),
    ("memory_percent", "_e2"),
    ("swap_percent", "_e2"),
    ("disk_percent", "_e2"),
    ("load_1", "_e2"),
    ("load_5", "_e2"),
    ("load_15", "_e2"),
    ("process_count", ""),
]
COUNTERS = ["network_sent_bytes", "network_received_bytes", "disk_read_bytes", "disk_written_bytes"]
PRESSURES = [("cpu_pressure", "_e2"), ("memory_pressure", "_e2"), ("io_pressure", "_e2")]


def upgrade() -> None:
    op.execute(
        "CREATE TABLE run (run_id INTEGER NOT NULL PRIMARY KEY, started_ts INTEGER NOT NULL, stopped_ts INTEGER, "
        "clean INTEGER DEFAULT 0 NOT NULL, boot_ts INTEGER, boot_id TEXT, version TEXT NOT NULL, "
        "interval_seconds INTEGER NOT NULL)"
    )
    op.execute(
        "CREATE TABLE stretch (stretch_id INTEGER NOT NULL PRIMARY KEY, "
        "run_id INTEGER NOT NULL REFERENCES run (run_id), start_ts INTEGER NOT NULL, prior_end_ts INTEGER, reason TEXT)"
    )
    op.execute(
        "CREATE TABLE progress (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), minutes_until INTEGER NOT NULL, "
        "hours_until INTEGER NOT NULL, days_until INTEGER NOT NULL, "
        "samples_from INTEGER NOT NULL, minutes_from INTEGER NOT NULL)"
    )
    op.execute("INSERT INTO progress VALUES (1, 0, 0, 0, 0, 0)")
    op.execute(_samples())
    for table in ("minute", "hour", "day"):
        op.execute(_rollup(table))
        op.execute(f"CREATE INDEX {table}_partial ON {table} (ts) WHERE partial IS NOT NULL")


def _samples() -> str:
    names = [name + suffix for name, suffix in GAUGES] + COUNTERS + [name + suffix for name, suffix in PRESSURES]
    metrics = ", ".join(f"{name} INTEGER" for name in names)
    return (
        "CREATE TABLE sample (ts INTEGER NOT NULL, stretch_id INTEGER NOT NULL, covered_ms INTEGER NOT NULL, "
        f"{metrics}, PRIMARY KEY (ts, stretch_id)) WITHOUT ROWID"
    )


def _rollup(table: str) -> str:
    columns = ["ts INTEGER NOT NULL PRIMARY KEY", "samples INTEGER NOT NULL", "covered_ms INTEGER NOT NULL"]
    columns.append("partial TEXT")
    for name, suffix in GAUGES + PRESSURES:
        columns += [f"{name}_e2 INTEGER", f"{name}_min{suffix} INTEGER", f"{name}_max{suffix} INTEGER"]
    for name in COUNTERS:
        columns += [f"{name}_increase INTEGER", f"{name}_rate_max INTEGER"]
    return f"CREATE TABLE {table} ({', '.join(columns)})"
