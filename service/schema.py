"""The tables and the public views, all following `metrics.METRICS`; says what is stored and how it is encoded.

A *stretch* is a run of samples without a hole: one run of the daemon has one or more. It is what makes rates honest
(two neighbours in one stretch share boot and continuity) and what the gaps are told from.
"""

from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table, Text

from service.metrics import COUNTERS, GAUGES, METRICS, Metric

# "TDMK": tells our files from other SQLite files (PRAGMA application_id).
APPLICATION_ID = 0x54444D4B
# A tick writes its last page whole: with a quarter of SQLite's usual size less goes to the disk each day.
PAGE_BYTES = 1024

metadata = MetaData()


def stored(metric: Metric, suffix: str = "") -> str:
    """The base-table column of a metric; `_e2` says that it holds the value x 100."""
    return f"{metric.name}{suffix}{'_e2' if metric.scale == 100 else ''}"


# Averages are kept to hundredths, also of what is counted in whole numbers.
AVERAGE_SCALE = 100


def stored_average(gauge: Metric) -> str:
    """The rollup column of a gauge's average."""
    return f"{gauge.name}_e2"


# What both SQLite's 64-bit integers and a double hold, whatever the scale.
_GREATEST = 2.0**56


def encode(value: float | None, scale: int) -> int | None:
    """The stored integer of a value in natural units; unknown where it is no number, or none that SQLite holds."""
    if value is None or not -_GREATEST < value < _GREATEST:  # also for NaN
        return None
    return round(value * scale)


run = Table(
    "run",
    metadata,
    Column("run_id", Integer, primary_key=True),
    Column("started_ts", Integer, nullable=False),
    Column("stopped_ts", Integer),
    Column("clean", Integer, nullable=False, server_default="0"),
    Column("boot_ts", Integer),
    Column("boot_id", Text),
    Column("version", Text, nullable=False),
    Column("interval_seconds", Integer, nullable=False),
)

stretch = Table(
    "stretch",
    metadata,
    Column("stretch_id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("run.run_id"), nullable=False),
    Column("start_ts", Integer, nullable=False),
    Column("prior_end_ts", Integer),
    Column("reason", Text),
)

# WITHOUT ROWID on (ts, stretch_id): range scans by time need no second index (78 bytes a row instead of 88), and a
# stamp that comes twice, after the clock was set back, is two rows because it lies in two stretches.
sample = Table(
    "sample",
    metadata,
    Column("ts", Integer, primary_key=True),
    Column("stretch_id", Integer, primary_key=True),
    Column("covered_ms", Integer, nullable=False),
    *(Column(stored(metric), Integer) for metric in METRICS),
    sqlite_with_rowid=False,
)


def _rollup_columns() -> Iterator[Column[int]]:
    for gauge in GAUGES:
        yield Column(stored_average(gauge), Integer)
        yield Column(stored(gauge, "_min"), Integer)
        yield Column(stored(gauge, "_max"), Integer)
    for counter in COUNTERS:
        yield Column(stored(counter, "_increase"), Integer)
        # The fastest rate between two neighbours, so that a burst survives every reduction of resolution.
        yield Column(stored(counter, "_rate_max"), Integer)


def _rollup(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("ts", Integer, primary_key=True),
        Column("samples", Integer, nullable=False),
        Column("covered_ms", Integer, nullable=False),
        # JSON: metric -> milliseconds in which it was known, of those known for a part of covered_ms. Nearly always
        # NULL, and read apart: a weight of its own in each row and metric would double what a year costs to read.
        Column("partial", Text),
        *_rollup_columns(),
    )


minute = _rollup("minute")
hour = _rollup("hour")
day = _rollup("day")

# One row: how far the rollups have come, and from when on each tier is whole. All are unix seconds.
progress = Table(
    "progress",
    metadata,
    Column("only", Integer, CheckConstraint("only = 1"), primary_key=True),
    Column("minutes_until", Integer, nullable=False),
    Column("hours_until", Integer, nullable=False),
    Column("days_until", Integer, nullable=False),
    Column("samples_from", Integer, nullable=False),
    Column("minutes_from", Integer, nullable=False),
)


def _time(column: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {column}, 'unixepoch')"


def _natural(metric: Metric, suffix: str = "") -> str:
    name = f"{metric.name}{suffix}"
    return f"{stored(metric, suffix)} / {metric.scale}.0 AS {name}" if metric.scale != 1 else name


def _rollup_view(table: str) -> str:
    columns = [f"ts, {_time('ts')} AS time, samples, covered_ms / 1000.0 AS covered_seconds"]
    for gauge in GAUGES:
        columns.append(f"{stored_average(gauge)} / {AVERAGE_SCALE}.0 AS {gauge.name}")
        columns += [_natural(gauge, suffix) for suffix in ("_min", "_max")]
    columns += [f"{counter.name}_increase" for counter in COUNTERS]
    return f"SELECT {', '.join(columns)} FROM {table}"


def _metrics_view() -> str:
    rows = ", ".join(
        "(" + ", ".join("'" + text.replace("'", "''") + "'" for text in (m.name, m.unit, m.kind, m.help)) + ")"
        for m in METRICS
    )
    return f"WITH m(name, unit, kind, help) AS (VALUES {rows}) SELECT name, unit, kind, help FROM m"


def views() -> dict[str, str]:
    """The public views of the contract, name -> SELECT; the same in every version, whatever the tables become."""
    samples = [f"ts, {_time('ts')} AS time, covered_ms / 1000.0 AS covered_seconds"]
    samples += [_natural(metric) for metric in METRICS]
    return {
        "samples": f"SELECT {', '.join(samples)} FROM sample",
        "minutes": _rollup_view("minute"),
        "hours": _rollup_view("hour"),
        "gaps": (
            f"SELECT prior_end_ts AS start_ts, start_ts AS end_ts, {_time('prior_end_ts')} AS start_time, "
            f"{_time('start_ts')} AS end_time, reason FROM stretch WHERE reason IS NOT NULL AND start_ts > prior_end_ts"
        ),
        "runs": (
            f"SELECT run_id, {_time('started_ts')} AS started, {_time('stopped_ts')} AS stopped, clean, "
            f"{_time('boot_ts')} AS boot_time, version, interval_seconds AS interval FROM run"
        ),
        "metrics": _metrics_view(),
    }
