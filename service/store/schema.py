"""The tables and the public views, all following `metrics.METRICS`; says what is stored and how it is encoded.

A *stretch* is a run of samples without a gap: one run of the daemon has one or more. Rates are honest only within one
(its samples share boot and continuity), and the gaps are what lies between two.
"""

from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, Table, Text

from service.metrics import COUNTERS, GAUGES, KIB, METRICS, Metric
from service.store import device_schema, events
from service.store.statements import utc_text

# "TDMK": distinguishes our files from other SQLite files (PRAGMA application_id).
APPLICATION_ID = 0x54444D4B
# A tick writes its last page whole: with a quarter of SQLite's usual size less goes to the disk each day.
PAGE_BYTES = 1024

metadata = MetaData()


def stored(metric: Metric, suffix: str = "") -> str:
    """The base-table column of a metric; `_e2` says that it holds the value x 100, `_kb` that it holds KiB."""
    if metric.scale == 1 / KIB:
        return f"{metric.name.removesuffix('_bytes')}{suffix}_kb"
    return f"{metric.name}{suffix}{'_e2' if metric.scale == 100 else ''}"


def average_scale(metric: Metric) -> float:
    """Stored average = round(average x that): hundredths, also of what is counted in whole numbers; KiB of bytes."""
    return metric.scale if metric.scale < 1 else 100


def stored_average(gauge: Metric) -> str:
    """The rollup column of a gauge's average."""
    return stored(gauge) if gauge.scale < 1 else f"{gauge.name}_e2"


def natural(column: str, scale: float) -> str:
    """In SQL: the value in natural units of a column that holds it x `scale`."""
    if scale == 1:
        return column
    return f"{column} * {round(1 / scale)}" if scale < 1 else f"{column} / {scale}.0"


# In SQL: the middle of what a capture, or a row of a device, covers, in unix milliseconds; it lies in the hour to which
# that belongs.
MIDDLE_MS = "ts * 1000 - covered_ms / 2"


def product(gauge: Metric, average: str, milliseconds: str) -> str:
    """In SQL: an average x the time that it stands for; years of KiB are more than an integer holds."""
    return f"{'1.0 * ' if gauge.scale < 1 else ''}{average} * {milliseconds}"


def weighted(gauge: Metric) -> str:
    """In SQL: the value of a gauge in one sample x the milliseconds that it stands for, in `average_scale`."""
    factor = round(average_scale(gauge) / gauge.scale)
    return product(gauge, f"{stored(gauge)} * {factor}" if factor != 1 else stored(gauge), "covered_ms")


# What both SQLite's 64-bit integers and a double hold, whatever the scale.
_GREATEST = 2.0**56


def encode(value: float | None, scale: float) -> int | None:
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
    table = Table(
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
    Index(f"{name}_partial", table.c.ts, sqlite_where=table.c.partial.isnot(None))
    return table


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

# `note_id`: drawn at random, so that a note that is taken in twice is one row.
note = Table(
    "note",
    metadata,
    Column("ts", Integer, primary_key=True),
    Column("note_id", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

# -- who used the host, and how full its file systems are

# `last_ts`: when it was last seen, to the day, so that names of which nothing is kept any more can go.
process_name = Table(
    "process_name",
    metadata,
    Column("name_id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("last_ts", Integer, nullable=False),
)

# A capture of processes and services. `busy_ms`: CPU time that the host gave, of `capacity_ms`; NULL where that is
# unknown. `process_count`, `memory_kb`: of all processes; NULL in captures of before revision 0004.
capture = Table(
    "capture",
    metadata,
    Column("ts", Integer, primary_key=True),
    Column("stretch_id", Integer, primary_key=True),
    Column("covered_ms", Integer, nullable=False),
    Column("capacity_ms", Integer, nullable=False),
    Column("busy_ms", Integer),
    Column("process_count", Integer),
    Column("memory_kb", Integer),
    # Both of the host, NULL where not known, and in captures of before revision 0010; of the limit also where none is.
    Column("open_files", Integer),
    Column("open_files_limit", Integer),
    sqlite_with_rowid=False,
)

# A row is a name whole, a single process, or, where a name has one process, both. `process_count`: of a name, how many
# processes it has; NULL where the row is a single process only. `pid`: of a name of several, minus its number.
# `children_ms`: of `cpu_ms` that of children that have ended. In captures of before revision 0004 only processes.
process = Table(
    "process",
    metadata,
    Column("ts", Integer, primary_key=True),
    Column("stretch_id", Integer, primary_key=True),
    Column("pid", Integer, primary_key=True),
    Column("name_id", Integer, nullable=False),
    Column("cpu_ms", Integer, nullable=False),
    Column("memory_kb", Integer, nullable=False),
    Column("process_count", Integer),
    Column("children_ms", Integer),
    Column("service_id", Integer),
    sqlite_with_rowid=False,
)

service = Table(
    "service",
    metadata,
    Column("service_id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("last_ts", Integer, nullable=False),
)


def _service_columns() -> Iterator[Column[int]]:
    """What a service used; NULL where its controllers do not give it."""
    for name in ("read_kb", "written_kb", "oom_kills"):
        yield Column(name, Integer)


service_usage = Table(
    "service_usage",
    metadata,
    Column("ts", Integer, primary_key=True),
    Column("stretch_id", Integer, primary_key=True),
    Column("service_id", Integer, primary_key=True),
    Column("cpu_ms", Integer, nullable=False),
    Column("memory_kb", Integer),
    *_service_columns(),
    sqlite_with_rowid=False,
)


# `known_ms`: of `capacity_ms` that in which `busy_ms` was known. `memory_kb`: the average of all processes together.
def _captures_reduced(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("ts", Integer, primary_key=True),
        Column("covered_ms", Integer, nullable=False),
        Column("capacity_ms", Integer, nullable=False),
        Column("known_ms", Integer, nullable=False),
        Column("busy_ms", Integer, nullable=False),
        Column("memory_kb", Integer),
    )


# `memory_kb`: the greatest in one capture. `average_kb`: over all captures, 0 in those in which it is not.
def _names_reduced(name: str, *more: Column[str]) -> Table:
    return Table(
        name,
        metadata,
        Column("ts", Integer, primary_key=True),
        Column("name_id", Integer, primary_key=True),
        Column("cpu_ms", Integer, nullable=False),
        Column("memory_kb", Integer, nullable=False),
        *more,
        Column("process_count", Integer),
        Column("children_ms", Integer),
        Column("average_kb", Integer),
        sqlite_with_rowid=False,
    )


def _services_reduced(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("ts", Integer, primary_key=True),
        Column("service_id", Integer, primary_key=True),
        Column("cpu_ms", Integer, nullable=False),
        Column("memory_kb", Integer),
        Column("average_kb", Integer),
        *_service_columns(),
        sqlite_with_rowid=False,
    )


capture_hour, capture_day = _captures_reduced("capture_hour"), _captures_reduced("capture_day")
# `pids`: JSON, those that used most CPU first.
process_hour = _names_reduced("process_hour", Column("pids", Text, nullable=False))
Index("process_hour_name", process_hour.c.name_id)
process_day = _names_reduced("process_day")
service_hour, service_day = _services_reduced("service_hour"), _services_reduced("service_day")
Index("service_hour_service", service_hour.c.service_id)

# One row: captures are reduced to hours for ts < `hours_until`, these to days for ts < `days_until`; captures are whole
# from `captures_from` on, and merged for ts < `merged_until`; file systems have one row an hour for
# ts < `thinned_until`.
use_progress = Table(
    "use_progress",
    metadata,
    Column("only", Integer, CheckConstraint("only = 1"), primary_key=True),
    Column("hours_until", Integer, nullable=False),
    Column("captures_from", Integer, nullable=False),
    Column("thinned_until", Integer, nullable=False),
    Column("days_until", Integer, nullable=False, server_default="0"),
    Column("merged_until", Integer, nullable=False, server_default="0"),
)

# `is_mounted`: at the last look; NULL where that was before revision 0008.
mount = Table(
    "mount",
    metadata,
    Column("mount_id", Integer, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    # As they were last; NULL where they are not known.
    Column("type", Text),
    Column("device", Text),
    Column("is_mounted", Integer),
)

# A mount that was there at the look at `since_ts` and not at that at `ts`, or the other way round. `is_last`: more of
# that day are not kept.
mount_event = Table(
    "mount_event",
    metadata,
    Column("ts", Integer, primary_key=True),
    Column("mount_id", Integer, primary_key=True),
    Column("is_mounted", Integer, nullable=False),
    Column("since_ts", Integer, nullable=False),
    Column("is_last", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# By mount first: what is asked is the course of one.
filesystem = Table(
    "filesystem",
    metadata,
    Column("mount_id", Integer, primary_key=True),
    Column("ts", Integer, primary_key=True),
    Column("stretch_id", Integer, primary_key=True),
    Column("total_kb", Integer, nullable=False),
    Column("used_kb", Integer, nullable=False),
    Column("available_kb", Integer, nullable=False),
    # NULL where a file system makes them as it needs them.
    Column("total_inodes", Integer),
    Column("used_inodes", Integer),
    sqlite_with_rowid=False,
)

# `reached_ts`: when the level was first seen reached; `watched_until`: how far the history has been searched for that.
forecast = Table(
    "forecast",
    metadata,
    Column("mount_id", Integer, primary_key=True),
    Column("made_ts", Integer, primary_key=True),
    Column("is_full", Integer, primary_key=True),
    Column("level_kb", Integer, nullable=False),
    Column("growth_kb_per_day", Integer, nullable=False),
    Column("earliest_ts", Integer, nullable=False),
    Column("middle_ts", Integer, nullable=False),
    Column("latest_ts", Integer),
    Column("reached_ts", Integer),
    Column("watched_until", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# One row a target: where forwarding to it stands, in the order of the history, which is (stretch_id, ts).
# `stretch_id`, `ts`: acknowledged up to here. `flight_*`: announced up to here, and perhaps sent. `counters`: JSON,
# metric -> [last raw, offset, boot]; `known`: JSON, series -> stamp at which it was last known, of those without a
# staleness marker since; both as of what is acknowledged. `sent`, `refused`, `skipped`: samples; `resent`: batches that
# were sent again after a crash. `last_error`: of the last sending; NULL where it went well. `resume`: JSON, where to go
# on from after samples that are sent again.
forward = Table(
    "forward",
    metadata,
    Column("target", Text, primary_key=True, nullable=False),
    Column("stretch_id", Integer, nullable=False),
    Column("ts", Integer, nullable=False),
    Column("flight_stretch_id", Integer),
    Column("flight_ts", Integer),
    Column("counters", Text, nullable=False),
    Column("known", Text, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("resent", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("acknowledged_at", Integer),
    Column("last_error", Text),
    Column("last_error_at", Integer),
    Column("resume", Text),
)

device_schema.define(metadata)


def _natural(metric: Metric, suffix: str = "") -> str:
    name, value = f"{metric.name}{suffix}", natural(stored(metric, suffix), metric.scale)
    return value if value == name else f"{value} AS {name}"


def _rollup_view(table: str) -> str:
    columns = [f"ts, {utc_text('ts')} AS time, samples, covered_ms / 1000.0 AS covered_seconds"]
    for gauge in GAUGES:
        columns.append(f"{natural(stored_average(gauge), average_scale(gauge))} AS {gauge.name}")
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
    samples = [f"ts, {utc_text('ts')} AS time, covered_ms / 1000.0 AS covered_seconds"]
    samples += [_natural(metric) for metric in METRICS]
    return {
        "samples": f"SELECT {', '.join(samples)} FROM sample",
        "minutes": _rollup_view("minute"),
        "hours": _rollup_view("hour"),
        "gaps": (
            f"SELECT prior_end_ts AS start_ts, start_ts AS end_ts, {utc_text('prior_end_ts')} AS start_time, "
            f"{utc_text('start_ts')} AS end_time, reason "
            "FROM stretch WHERE reason IS NOT NULL AND start_ts > prior_end_ts"
        ),
        "runs": (
            f"SELECT run_id, {utc_text('started_ts')} AS started, {utc_text('stopped_ts')} AS stopped, clean, "
            f"{utc_text('boot_ts')} AS boot_time, version, interval_seconds AS interval FROM run"
        ),
        "events": events.VIEW,
        "metrics": _metrics_view(),
        **_process_views(),
        **_service_views(),
        **_filesystem_views(),
        **device_schema.views(),
        "forwards": _forwards_view(),
    }


def _process_views() -> dict[str, str]:
    head = f"SELECT ts, {utc_text('ts')} AS time, covered_ms / 1000.0 AS covered_seconds"
    cpu = "100.0 * cpu_ms / capacity_ms AS cpu_percent"
    memory = "memory_kb * 1024 AS memory_bytes"
    children = "100.0 * children_ms / capacity_ms AS children_cpu_percent"
    return {
        "processes": (
            f"{head}, name, pid, {cpu}, process.{memory} "
            "FROM process JOIN capture USING (ts, stretch_id) JOIN process_name USING (name_id) WHERE pid > 0"
        ),
        "process_names": (
            f"{head}, process_name.name, process.process_count, {cpu}, {children}, process.{memory}, "
            "(SELECT name FROM service AS s WHERE s.service_id = process.service_id) AS service "
            "FROM process JOIN capture USING (ts, stretch_id) JOIN process_name USING (name_id) "
            "WHERE process.process_count IS NOT NULL OR capture.process_count IS NULL"
        ),
        "captures": (
            f"{head}, CAST(round(1.0 * capacity_ms / covered_ms) AS INTEGER) AS cpus, "
            "100.0 * busy_ms / capacity_ms AS cpu_percent, 100.0 * MAX(0, busy_ms - (SELECT "
            "COALESCE(SUM(cpu_ms), 0) FROM process AS p WHERE p.ts = capture.ts AND p.stretch_id = capture.stretch_id "
            "AND (p.process_count IS NOT NULL OR capture.process_count IS NULL))) / capacity_ms "
            f"AS unattributed_cpu_percent, process_count, {memory}, open_files, open_files_limit FROM capture"
        ),
        "process_hours": (
            f"{head}, name, {cpu}, cpu_ms / 1000.0 AS cpu_seconds, process_hour.{memory}, process_count, {children} "
            "FROM process_hour JOIN capture_hour USING (ts) JOIN process_name USING (name_id)"
        ),
    }


def _service_views() -> dict[str, str]:
    columns = (
        f"ts, {utc_text('ts')} AS time, covered_ms / 1000.0 AS covered_seconds, name AS service, kind, "
        "100.0 * cpu_ms / capacity_ms AS cpu_percent, {0}.memory_kb * 1024 AS memory_bytes, "
        "read_kb * 1024 AS read_bytes, written_kb * 1024 AS written_bytes, oom_kills"
    )
    return {
        "services": (
            f"SELECT {columns.format('service_usage')} "
            "FROM service_usage JOIN capture USING (ts, stretch_id) JOIN service USING (service_id)"
        ),
        "service_hours": (
            f"SELECT {columns.format('service_hour')} "
            "FROM service_hour JOIN capture_hour USING (ts) JOIN service USING (service_id)"
        ),
    }


_SPACE = (
    "total_kb * 1024 AS total_bytes, used_kb * 1024 AS used_bytes, available_kb * 1024 AS available_bytes, "
    "total_inodes, used_inodes, type, device"
)


def _filesystem_views() -> dict[str, str]:
    return {
        "filesystems": (
            f"SELECT ts, {utc_text('ts')} AS time, path AS mount, {_SPACE} FROM filesystem JOIN mount USING (mount_id)"
        ),
        "mounts": (
            f"SELECT path AS mount, ts, {utc_text('ts')} AS time, {_SPACE} FROM (SELECT mount_id, path, type, device, "
            "(SELECT MAX(ts) FROM filesystem AS f WHERE f.mount_id = mount.mount_id) AS ts FROM mount) "
            "CROSS JOIN filesystem USING (mount_id, ts)"
        ),
        "forecasts": (
            f"SELECT made_ts, {utc_text('made_ts')} AS made_time, path AS mount, is_full, "
            "level_kb * 1024 AS level_bytes, growth_kb_per_day * 1024 AS growth_bytes_per_day, "
            "earliest_ts, middle_ts, latest_ts, reached_ts, watched_until "
            "FROM forecast JOIN mount USING (mount_id)"
        ),
    }


def _forwards_view() -> str:
    """What waits is what comes later in the order of the history; its stamps begin at the earliest later stretch."""
    later = "(stretch_id > f.stretch_id OR stretch_id = f.stretch_id AND ts > f.ts)"
    earliest = "MIN(f.ts, COALESCE((SELECT MIN(start_ts) FROM stretch WHERE stretch_id > f.stretch_id), f.ts))"
    acknowledged = "CASE WHEN acknowledged_at IS NOT NULL THEN f.ts END"
    newest = (
        "SELECT ts FROM sample WHERE stretch_id = (SELECT MAX(stretch_id) FROM stretch) ORDER BY ts DESC, stretch_id "
        "LIMIT 1"
    )
    return (
        f"SELECT target, {acknowledged} AS acknowledged_ts, {utc_text(acknowledged)} AS acknowledged_time, "
        f"MAX(0, COALESCE(({newest}), f.ts) - f.ts) AS lag_seconds, "
        f"(SELECT COUNT(*) FROM sample WHERE ts >= {earliest} AND {later}) AS waiting_samples, "
        "sent, refused, resent, skipped, last_error FROM forward AS f"
    )
