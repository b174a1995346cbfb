"""The host in more detail: CPU time by mode, memory in bytes, what the kernel counts; NULL in what was recorded before.

A column that is added is only a line of the schema: no row is written, however long the history.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

SHARES = (
    *(f"cpu_{mode}" for mode in ("user", "nice", "system", "irq", "softirq", "iowait", "steal")),
    "cpu_limit",
    "memory_limit",
)
SIZES = (
    "memory_total",
    "memory_available",
    "memory_free",
    "memory_buffers",
    "memory_cached",
    "memory_dirty",
    "swap_total",
    "swap_free",
)
GAUGES = ("cpu_count", "processes_running", "processes_blocked", "tcp_established")
COUNTERS = (
    "swap_in_bytes",
    "swap_out_bytes",
    "major_faults",
    "oom_kills",
    "context_switches",
    "forks",
    "tcp_retransmits",
)
# Average, minimum, maximum of each gauge.
ROLLED_UP = (
    *(f"{name}_percent{part}_e2" for name in SHARES for part in ("", "_min", "_max")),
    *(f"{name}{part}_kb" for name in SIZES for part in ("", "_min", "_max")),
    *(f"{name}{part}" for name in GAUGES for part in ("_e2", "_min", "_max")),
    *(f"{name}{part}" for name in COUNTERS for part in ("_increase", "_rate_max")),
)
SAMPLED = (*(f"{name}_percent_e2" for name in SHARES), *(f"{name}_kb" for name in SIZES), *GAUGES, *COUNTERS)


def upgrade() -> None:
    for column in SAMPLED:
        op.execute(f"ALTER TABLE sample ADD COLUMN {column} INTEGER")
    for table in ("minute", "hour", "day"):
        for column in ROLLED_UP:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")
