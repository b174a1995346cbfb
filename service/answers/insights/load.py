"""Work that waits: for the CPUs, for the disks."""

from collections.abc import Iterator

from service.answers.insights.rules import Asked, Finding, numbers, size
from service.clock import DAY

# In how many minutes of a day work waited for a CPU: how busy they were, and by which of two signs work waited.
SATURATED_MINUTES = 30
SATURATED_PERCENT = 90.0
SATURATED_PRESSURE_PERCENT = 20.0
SATURATED_LOAD_PER_CPU = 1.5


def cpu_saturated(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which all CPUs were busy and more work waited for them."""
    cpus = f"(SELECT cpus FROM captures WHERE ts < {asked.now} ORDER BY ts DESC LIMIT 1)"
    sql = (
        "SELECT COUNT(*) AS saturated_minutes, AVG(cpu_percent) AS cpu_percent, MAX(load_1) AS most_load,\n"
        f"       {cpus} AS cpus, MAX(load_1) / {cpus} AS most_load_per_cpu,\n"
        "       AVG(cpu_pressure) AS cpu_pressure_percent\n"
        f"FROM minutes\nWHERE {asked.window(DAY)} AND cpu_percent >= {SATURATED_PERCENT}\n"
        f"      AND (cpu_pressure >= {SATURATED_PRESSURE_PERCENT} OR load_1 >= {SATURATED_LOAD_PER_CPU} * {cpus})"
    )
    row = asked.row(sql)
    if row is not None and row["saturated_minutes"] >= SATURATED_MINUTES:
        load = f", with a load of up to {row['most_load_per_cpu']:.1f} per CPU" if row["most_load_per_cpu"] else ""
        yield Finding(
            code="cpu_saturated",
            severity="warning",
            title=f"The CPUs were saturated for {row['saturated_minutes']} minutes of the last 24 hours",
            detail=f"In these minutes they were {row['cpu_percent']:.0f} % busy on average{load}: work waited for a "
            f"CPU.{_busiest(asked)}",
            evidence=numbers(row),
            sql=sql,
        )


def _busiest(asked: Asked) -> str:
    window = asked.window(DAY)
    row = asked.row(
        "SELECT name, SUM(cpu_percent * covered_seconds) AS used FROM process_names "
        f"WHERE {window} AND ts IN (SELECT ts FROM captures WHERE {window} AND cpu_percent >= {SATURATED_PERCENT}) "
        "GROUP BY name ORDER BY used DESC LIMIT 1"
    )
    return f" Most CPU time was used by {row['name']}." if row else ""


# In how many minutes of a day tasks waited for the disks, and for how much of each.
IO_MINUTES = 30
IO_PRESSURE_PERCENT = 40.0


def io_pressure(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which tasks waited for the disks much of the time."""
    sql = (
        "SELECT COUNT(*) AS waiting_minutes, AVG(io_pressure) AS io_pressure_percent,\n"
        "       MAX(io_pressure) AS most_io_pressure_percent,\n"
        "       SUM(disk_read_bytes_increase) AS read_bytes, SUM(disk_written_bytes_increase) AS written_bytes\n"
        f"FROM minutes\nWHERE {asked.window(DAY)} AND io_pressure >= {IO_PRESSURE_PERCENT}"
    )
    row = asked.row(sql)
    if row is not None and row["waiting_minutes"] >= IO_MINUTES:
        yield Finding(
            code="io_pressure",
            severity="warning",
            title=f"Tasks waited for the disks in {row['waiting_minutes']} minutes of the last 24 hours",
            detail=f"In these minutes some task waited {row['io_pressure_percent']:.0f} % of the time; "
            f"{size(row['read_bytes'] or 0)} were read and {size(row['written_bytes'] or 0)} written.",
            evidence=numbers(row),
            sql=sql,
        )


# In how many minutes of a day the hypervisor gave how much of the CPUs' time to others.
STOLEN_MINUTES = 30
STOLEN_PERCENT = 5.0


def cpu_stolen(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which the hypervisor let others run while this host had work."""
    sql = (
        "SELECT COUNT(*) AS stolen_minutes, AVG(cpu_steal_percent) AS steal_percent,\n"
        "       MAX(cpu_steal_percent) AS most_steal_percent, AVG(cpu_percent) AS cpu_percent, MAX(ts) AS last_ts\n"
        f"FROM minutes\nWHERE {asked.window(DAY)} AND cpu_steal_percent >= {STOLEN_PERCENT}"
    )
    row = asked.row(sql)
    if row is not None and row["stolen_minutes"] >= STOLEN_MINUTES:
        yield Finding(
            code="cpu_stolen",
            severity="warning",
            title=f"The hypervisor gave CPU time to others in {row['stolen_minutes']} minutes of the last 24 hours",
            detail=f"In these minutes {row['steal_percent']:.0f} % of the CPU time went to others while this host had "
            f"work, in the worst {row['most_steal_percent']:.0f} %: your hypervisor, not you.",
            evidence=numbers(row),
            sql=sql,
        )
