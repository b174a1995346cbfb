"""Findings in plain words: what the history shows that its owner should know, with the numbers and their SQL; pure.

A rule asks one question of the public views, in SQL that holds its whole window as unix seconds, and judges the row
that comes back: the evidence is that row, so whoever runs the SQL later sees the same numbers. Where the evidence is
thin it says nothing. docs/insights.md gives the reason of each threshold.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from service.analysis import forecast, recurrence, unusual
from service.clock import DAY, HOUR

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")

# A file system: said when the early end of the forecast is nearer than this.
FILLING_INFO_SECONDS, FILLING_WARNING_SECONDS, FILLING_CRITICAL_SECONDS = 30 * DAY, 7 * DAY, DAY
# A forecast is made each hour; an older one is of a daemon that was down.
FORECAST_FRESH_SECONDS = 2 * HOUR
FULL_WARNING_SHARE, FULL_CRITICAL_SHARE = 0.05, 0.01
FULL_WARNING_BYTES = 50 * 10**9
# A process that grows without return.
GROWTH_RISES, GROWTH_BYTES, GROWTH_FACTOR = 7, 100 * 10**6, 1.5
GROWTH_FALLS_SHARE, GROWTH_LATE_SHARE, GROWTH_KEPT_SHARE = 0.02, 0.15, 0.98
# A name whose memory grows from day to day.
DAYS_RISING, DAYS_FACTOR = 6, 1.2
# Minutes of a day in which the host was short of something, and what short means.
SATURATED_MINUTES, SATURATED_PERCENT, SATURATED_PRESSURE, SATURATED_LOAD = 30, 90.0, 20.0, 1.5
MEMORY_MINUTES, MEMORY_PRESSURE, MEMORY_PERCENT = 10, 10.0, 95.0
IO_MINUTES, IO_PRESSURE = 30, 40.0
# Larger than needed: p95 over 30 days against what a well-used machine runs at.
OVERSIZED_DAYS, OVERSIZED_COVERAGE = 30, 20 * DAY
CPU_TARGET_PERCENT, MEMORY_TARGET_PERCENT, OVERSIZED_SHARE = 70.0, 80.0, 0.5
PEAK_DAYS, PEAK_HEIGHT = 28, 10.0
UNUSUAL_DIFFERENCE = 15.0
BREAKS_DAYS = 7
# How many breaks of a kind in a week are more than chance and maintenance.
BREAKS = {"killed": 3, "rebooted": 3, "storage": 3, "clock_step": 3, "overload": 5}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """`evidence`: numbers only, those of the row that `sql` gives."""

    code: str
    severity: Severity
    title: str
    detail: str
    evidence: dict[str, float | int | None]
    sql: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What rules are given: `ask` runs one SELECT on the public views, `now` is unix seconds, `text` writes a moment
    and `offset_seconds` is how far local time is ahead of UTC."""

    ask: Callable[[str], Sequence[Row]]
    now: int
    text: Callable[[int], str]
    offset_seconds: int = 0

    def row(self, sql: str) -> Row | None:
        """The only row; None where there is none or all of it is unknown."""
        rows = self.ask(sql)
        return rows[0] if rows and any(value is not None for value in rows[0].values()) else None


def findings(asked: Asked) -> list[Finding]:
    """All that the history shows, the most severe first; empty where there is nothing to report."""
    found = [finding for rule in RULES for finding in rule(asked)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _finding(code: str, severity: Severity, title: str, detail: str, row: Row, sql: str) -> Finding:
    evidence = {key: value for key, value in row.items() if value is None or isinstance(value, (int, float))}
    return Finding(code, severity, title, detail, evidence, sql)


def quoted(text: str) -> str:
    """A text as an SQL literal. Names come from the host, and may hold anything."""
    return "'" + text.replace("'", "''") + "'"


def _size(value: float) -> str:
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value / 1000:.0f} kB"


def _span(seconds: float) -> str:
    """A span in the unit that people would use."""
    for unit, length in (("day", DAY), ("hour", HOUR), ("minute", 60)):
        if seconds >= 1.5 * length or unit == "minute":
            count = max(1, round(seconds / length))
            return f"{count} {unit}{'s' if count > 1 else ''}"
    raise AssertionError


# -- file systems


def disk_filling(asked: Asked) -> Iterator[Finding]:
    """The newest forecast of each file system."""
    newest = (
        "SELECT mount, MAX(made_ts) AS made_ts FROM forecasts "
        f"WHERE is_full = 1 AND made_ts > {asked.now - FORECAST_FRESH_SECONDS} AND made_ts <= {asked.now} "
        "GROUP BY mount"
    )
    for told in asked.ask(newest):
        sql = (
            "SELECT mount, made_ts, level_bytes, growth_bytes_per_day, earliest_ts, middle_ts, latest_ts\n"
            f"FROM forecasts\nWHERE is_full = 1 AND made_ts = {told['made_ts']} AND mount = {quoted(told['mount'])}"
        )
        row = asked.row(sql)
        if row is None or row["earliest_ts"] - asked.now > FILLING_INFO_SECONDS:
            continue
        ahead = row["earliest_ts"] - asked.now
        severity: Severity = (
            "critical"
            if ahead <= FILLING_CRITICAL_SECONDS
            else "warning"
            if ahead <= FILLING_WARNING_SECONDS
            else "info"
        )
        until = "later than can be told" if row["latest_ts"] is None else asked.text(row["latest_ts"])
        yield _finding(
            *("disk_filling", severity),
            f"{row['mount']} is full in about {_span(max(0, row['middle_ts'] - asked.now))}",
            f"It grows by {_size(row['growth_bytes_per_day'])} a day. With {100 * forecast.NOMINAL:.0f} % likelihood "
            f"it is full between {asked.text(row['earliest_ts'])} and {until}.",
            *(row, sql),
        )


def disk_full(asked: Asked) -> Iterator[Finding]:
    """File systems with almost no room left."""
    for mount in asked.ask(f"SELECT mount FROM mounts WHERE ts > {asked.now - HOUR}"):
        sql = (
            "SELECT mount, ts, total_bytes, used_bytes, available_bytes,\n"
            "       100.0 * used_bytes / (used_bytes + available_bytes) AS used_percent\n"
            f"FROM mounts\nWHERE mount = {quoted(mount['mount'])}"
        )
        row = asked.row(sql)
        if row is None or not row["used_bytes"] + row["available_bytes"]:
            continue
        free = row["available_bytes"] / (row["used_bytes"] + row["available_bytes"])
        if free < FULL_WARNING_SHARE and row["available_bytes"] < FULL_WARNING_BYTES:
            yield _finding(
                *("disk_full", "critical" if free < FULL_CRITICAL_SHARE else "warning"),
                f"{row['mount']} is {row['used_percent']:.1f} % full",
                f"{_size(row['available_bytes'])} of {_size(row['total_bytes'])} are left for anyone but root.",
                *(row, sql),
            )


# -- memory


def memory_growing(asked: Asked) -> Iterator[Finding]:
    """Processes that grew from look to look in the last day, at last as at first, and gave nothing back."""
    start = asked.now - DAY
    candidates = (
        "SELECT name, pid, MAX(ts) AS last_ts FROM processes "
        f"WHERE ts > {start} AND ts <= {asked.now} GROUP BY name, pid HAVING COUNT(*) > {GROWTH_RISES} "
        f"AND MAX(memory_bytes) - MIN(memory_bytes) >= {GROWTH_BYTES}"
    )
    newest = asked.row(f"SELECT MAX(ts) AS ts FROM captures WHERE ts <= {asked.now}")
    for candidate in asked.ask(candidates):
        sql = _growth_sql(candidate["name"], candidate["pid"], start, candidate["last_ts"])
        row = asked.row(sql)
        if row is None or not _is_growing(row):
            continue
        is_alive = newest is not None and row["last_ts"] == newest["ts"]
        took = row["last_ts"] - row["first_ts"]
        ended = "" if is_alive else " It has ended since, or is no longer among the largest."
        yield _finding(
            *("memory_growing", "warning" if is_alive else "info"),
            f"{row['name']} grew by {_size(row['growth_bytes'])} in {_span(took)} and gave nothing back",
            f"Process {row['pid']} had {_size(row['first_bytes'])} at {asked.text(row['first_ts'])} and "
            f"{_size(row['last_bytes'])} at {asked.text(row['last_ts'])}: more at {row['rises']} of {row['looks']} "
            f"looks, less at {row['falls']}.{ended}",
            *(row, sql),
        )


def _growth_sql(name: str, pid: int, start: int, last: int) -> str:
    return (
        "WITH look AS (\n"
        "    SELECT ts, memory_bytes, memory_bytes - LAG(memory_bytes) OVER (ORDER BY ts) AS change,\n"
        "           FIRST_VALUE(memory_bytes) OVER (ORDER BY ts) AS first_bytes,\n"
        "           NTILE(3) OVER (ORDER BY ts) AS third\n"
        f"    FROM processes WHERE name = {quoted(name)} AND pid = {pid} AND ts > {start} AND ts <= {last}\n"
        ")\n"
        f"SELECT {quoted(name)} AS name, {pid} AS pid, COUNT(*) AS looks, SUM(change > 0) AS rises,\n"
        "       SUM(change < 0) AS falls, MIN(ts) AS first_ts, MAX(ts) AS last_ts, MIN(first_bytes) AS first_bytes,\n"
        "       (SELECT memory_bytes FROM look ORDER BY ts DESC LIMIT 1) AS last_bytes,\n"
        "       MAX(memory_bytes) AS most_bytes,\n"
        "       (SELECT memory_bytes FROM look ORDER BY ts DESC LIMIT 1) - MIN(first_bytes) AS growth_bytes,\n"
        "       SUM(change) FILTER (WHERE third = 3) AS late_growth_bytes\n"
        "FROM look"
    )


def _is_growing(row: Row) -> bool:
    return bool(
        row["rises"] >= GROWTH_RISES
        and row["growth_bytes"] >= GROWTH_BYTES
        and row["last_bytes"] >= GROWTH_FACTOR * row["first_bytes"]
        and row["falls"] <= GROWTH_FALLS_SHARE * row["looks"]
        and row["last_bytes"] >= GROWTH_KEPT_SHARE * row["most_bytes"]
        and row["late_growth_bytes"] >= GROWTH_LATE_SHARE * row["growth_bytes"]
    )


def memory_growing_for_days(asked: Asked) -> Iterator[Finding]:
    """Names of which the least hour of each day had more memory than that of the day before."""
    first = (asked.now // DAY - DAYS_RISING) * DAY
    until = asked.now // DAY * DAY
    candidates = (
        "SELECT name FROM process_hours "
        f"WHERE ts >= {first} AND ts < {until} GROUP BY name HAVING COUNT(DISTINCT ts / {DAY}) = {DAYS_RISING} "
        f"AND MAX(memory_bytes) - MIN(memory_bytes) >= {GROWTH_BYTES}"
    )
    for candidate in asked.ask(candidates):
        sql = (
            "WITH day AS (\n"
            f"    SELECT ts / {DAY} AS day, MIN(memory_bytes) AS least FROM process_hours\n"
            f"    WHERE name = {quoted(candidate['name'])} AND ts >= {first} AND ts < {until} GROUP BY 1\n"
            "), change AS (\n"
            "    SELECT day, least, least - LAG(least) OVER (ORDER BY day) AS grown FROM day\n"
            ")\n"
            f"SELECT {quoted(candidate['name'])} AS name, COUNT(*) AS days, SUM(grown > 0) AS days_risen,\n"
            "       (SELECT least FROM day ORDER BY day LIMIT 1) AS first_bytes,\n"
            "       (SELECT least FROM day ORDER BY day DESC LIMIT 1) AS last_bytes, SUM(grown) AS growth_bytes\n"
            "FROM change"
        )
        row = asked.row(sql)
        if (
            row is not None
            and row["days"] == DAYS_RISING
            and row["days_risen"] == DAYS_RISING - 1
            and row["growth_bytes"] >= GROWTH_BYTES
            and row["last_bytes"] >= DAYS_FACTOR * row["first_bytes"]
        ):
            yield _finding(
                *("memory_growing", "warning"),
                f"{row['name']} holds more memory each day: {_size(row['growth_bytes'])} more in {row['days']} days",
                f"Its least hour of the day had {_size(row['first_bytes'])} on the first of these days and "
                f"{_size(row['last_bytes'])} on the last, and on each day more than on the one before.",
                *(row, sql),
            )


def memory_pressure(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which tasks waited for memory, or hardly any was left."""
    sql = (
        "SELECT COUNT(*) AS minutes, MAX(memory_pressure) AS most_memory_pressure,\n"
        "       MAX(memory_percent_max) AS most_memory_percent, MAX(swap_percent_max) AS most_swap_percent,\n"
        "       MAX(ts) AS last_ts\n"
        f"FROM minutes\nWHERE ts >= {asked.now - DAY} AND ts < {asked.now} "
        f"AND (memory_pressure >= {MEMORY_PRESSURE} OR memory_percent >= {MEMORY_PERCENT})"
    )
    row = asked.row(sql)
    if row is not None and row["minutes"] >= MEMORY_MINUTES:
        who = _largest(asked, row["last_ts"])
        yield _finding(
            *("memory_pressure", "warning"),
            f"Memory was short for {row['minutes']} minutes of the last 24 hours",
            f"Up to {row['most_memory_percent']:.0f} % of it was in use"
            + (f", {row['most_swap_percent']:.0f} % of the swap" if row["most_swap_percent"] is not None else "")
            + (
                f", and tasks waited for memory in up to {row['most_memory_pressure']:.0f} % of a minute"
                if row["most_memory_pressure"]
                else ""
            )
            + f".{who}",
            *(row, sql),
        )


def _largest(asked: Asked, ts: int) -> str:
    rows = asked.ask(
        "SELECT name, SUM(memory_bytes) AS memory_bytes FROM processes WHERE ts = "
        f"(SELECT MAX(ts) FROM captures WHERE ts <= {ts + 60}) AND ts > {ts - HOUR} "
        "GROUP BY name ORDER BY 2 DESC LIMIT 1"
    )
    return f" The largest was {rows[0]['name']} with {_size(rows[0]['memory_bytes'])}." if rows else ""


# -- CPU and I/O


def cpu_saturated(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which all CPUs were busy and more wanted them."""
    window = f"ts >= {asked.now - DAY} AND ts < {asked.now}"
    cpus = f"(SELECT cpus FROM captures WHERE ts < {asked.now} ORDER BY ts DESC LIMIT 1)"
    sql = (
        "SELECT COUNT(*) AS minutes, AVG(cpu_percent) AS cpu_percent, MAX(load_1) AS most_load,\n"
        f"       {cpus} AS cpus, MAX(load_1) / {cpus} AS most_load_per_cpu, AVG(cpu_pressure) AS cpu_pressure\n"
        f"FROM minutes\nWHERE {window} AND cpu_percent >= {SATURATED_PERCENT}\n"
        f"      AND (cpu_pressure >= {SATURATED_PRESSURE} OR load_1 >= {SATURATED_LOAD} * {cpus})"
    )
    row = asked.row(sql)
    if row is None or row["minutes"] < SATURATED_MINUTES:
        return
    busiest = asked.ask(
        "SELECT name, SUM(cpu_percent * covered_seconds) AS used FROM processes "
        f"WHERE {window} AND ts IN (SELECT ts FROM captures WHERE {window} AND cpu_percent >= {SATURATED_PERCENT}) "
        "GROUP BY name ORDER BY used DESC LIMIT 1"
    )
    who = f" Most of it was used by {busiest[0]['name']}." if busiest else ""
    load = f", the load up to {row['most_load_per_cpu']:.1f} per CPU" if row["most_load_per_cpu"] else ""
    yield _finding(
        *("cpu_saturated", "warning"),
        f"The CPUs were saturated for {row['minutes']} minutes of the last 24 hours",
        f"In these minutes {row['cpu_percent']:.0f} % was busy on average{load}: work waited for a CPU.{who}",
        *(row, sql),
    )


def io_pressure(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which tasks waited for the disks much of the time."""
    sql = (
        "SELECT COUNT(*) AS minutes, AVG(io_pressure) AS io_pressure, MAX(io_pressure) AS most_io_pressure,\n"
        "       SUM(disk_read_bytes_increase) AS read_bytes, SUM(disk_written_bytes_increase) AS written_bytes\n"
        f"FROM minutes\nWHERE ts >= {asked.now - DAY} AND ts < {asked.now} AND io_pressure >= {IO_PRESSURE}"
    )
    row = asked.row(sql)
    if row is not None and row["minutes"] >= IO_MINUTES:
        yield _finding(
            *("io_pressure", "warning"),
            f"Tasks waited for the disks in {row['minutes']} minutes of the last 24 hours",
            f"In these minutes some task waited {row['io_pressure']:.0f} % of the time; "
            f"{_size(row['read_bytes'] or 0)} were read and {_size(row['written_bytes'] or 0)} written.",
            *(row, sql),
        )


# -- the long view


def oversized(asked: Asked) -> Iterator[Finding]:
    """A month in which hardly any hour needed half of the machine."""
    window = f"ts >= {asked.now - OVERSIZED_DAYS * DAY} AND ts < {asked.now}"
    sql = (
        "WITH ranked AS (\n"
        "    SELECT cpu_percent, memory_percent, covered_seconds,\n"
        "           SUM(covered_seconds) OVER (ORDER BY cpu_percent) AS to_cpu,\n"
        "           SUM(covered_seconds) OVER (ORDER BY memory_percent) AS to_memory,\n"
        "           SUM(covered_seconds) OVER () AS whole\n"
        f"    FROM hours WHERE {window} AND cpu_percent IS NOT NULL AND memory_percent IS NOT NULL\n"
        ")\n"
        "SELECT SUM(covered_seconds) / 86400 AS days,\n"
        "       MIN(cpu_percent) FILTER (WHERE to_cpu >= 0.95 * whole) AS cpu_p95,\n"
        "       MIN(memory_percent) FILTER (WHERE to_memory >= 0.95 * whole) AS memory_p95,\n"
        f"       (SELECT cpus FROM captures WHERE ts < {asked.now} ORDER BY ts DESC LIMIT 1) AS cpus\n"
        "FROM ranked"
    )
    row = asked.row(sql)
    if row is None or row["days"] is None or row["days"] * DAY < OVERSIZED_COVERAGE:
        return
    cpu, memory = row["cpu_p95"] / CPU_TARGET_PERCENT, row["memory_p95"] / MEMORY_TARGET_PERCENT
    needed = ceil((row["cpus"] or 0) * cpu) or 1
    parts = []
    if (row["cpus"] or 0) > 1 and cpu <= OVERSIZED_SHARE and needed < row["cpus"]:
        parts.append(f"{needed} of its {row['cpus']} CPUs")
    if memory <= OVERSIZED_SHARE:
        parts.append(f"{100 * memory:.0f} % of its memory")
    if parts:
        yield _finding(
            *("oversized", "info"),
            f"This machine is larger than it needs: {' and '.join(parts)} would do",
            f"In 95 % of the hours of the last {OVERSIZED_DAYS} days the CPUs were at most {row['cpu_p95']:.0f} % busy "
            f"and at most {row['memory_p95']:.0f} % of memory was in use. Sized so that these would be "
            f"{CPU_TARGET_PERCENT:.0f} % and {MEMORY_TARGET_PERCENT:.0f} %, the rest is spare.",
            *(row, sql),
        )


def _hours(asked: Asked, metric: str, days: int) -> tuple[int, list[float | None]]:
    """The first hour of the last `days` days and the averages of each finished hour since, None where unknown."""
    end = asked.now // HOUR * HOUR
    rows = asked.ask(
        f"SELECT ts, {metric} AS value FROM hours WHERE ts >= {end - days * DAY} AND ts < {end} ORDER BY ts"
    )
    if not rows:
        return end, []
    first = rows[0]["ts"]
    values: list[float | None] = [None] * ((end - first) // HOUR)
    for row in rows:
        values[(row["ts"] - first) // HOUR] = row["value"]
    return first, values


def recurring_peak(asked: Asked) -> Iterator[Finding]:
    """The hour of the day in which the CPU peaks on more days than chance allows."""
    first, values = _hours(asked, "cpu_percent", PEAK_DAYS)
    local = first + asked.offset_seconds
    found = recurrence.daily_peak(values, local % DAY // HOUR, PEAK_HEIGHT)
    if found is None:
        return
    end = first + len(values) * HOUR
    local_hour = f"(ts + {asked.offset_seconds}) % {DAY} / {HOUR}" if asked.offset_seconds else f"ts % {DAY} / {HOUR}"
    sql = _peak_sql(first, end, f"{local_hour} = {found.hour}", found.hour)
    row = asked.row(sql)
    if row is None:
        return
    busiest = asked.ask(
        "SELECT name, SUM(cpu_seconds) AS used FROM process_hours "
        f"WHERE ts >= {first} AND ts < {end} AND {local_hour} = {found.hour} "
        "GROUP BY name ORDER BY used DESC LIMIT 1"
    )
    who = f" {busiest[0]['name']} used most in it." if busiest else ""
    yield _finding(
        *("recurring_peak", "info"),
        f"The CPU peaks each day at about {found.hour:02}:00, on {row['days_on']} of {row['days']} days",
        f"The hour from {found.hour:02}:00, or one beside it, was the busiest of the 24 around it, with "
        f"{row['cpu_percent']:.0f} % on average where these have {row['day_percent']:.0f} %.{who}",
        *(row, sql),
    )


def _peak_sql(first: int, end: int, is_hour: str, hour: int) -> str:
    """On how many days the peak is at the hour, by the rule of `recurrence.daily_peak`. `is_hour`: SQL for the hour."""
    return (
        "WITH around AS (\n"
        "    SELECT ts, cpu_percent, COUNT(*) OVER day AS recorded, AVG(cpu_percent) OVER day AS day_percent,\n"
        f"           MAX(cpu_percent) OVER (ORDER BY ts RANGE BETWEEN {HOUR} PRECEDING AND {HOUR} FOLLOWING) AS near,\n"
        f"           MAX(cpu_percent) OVER (ORDER BY ts RANGE BETWEEN {12 * HOUR} PRECEDING AND {2 * HOUR} PRECEDING) "
        "AS before,\n"
        f"           MAX(cpu_percent) OVER (ORDER BY ts RANGE BETWEEN {2 * HOUR} FOLLOWING AND {11 * HOUR} FOLLOWING) "
        "AS after\n"
        f"    FROM hours WHERE ts >= {first} AND ts < {end} AND cpu_percent IS NOT NULL\n"
        f"    WINDOW day AS (ORDER BY ts RANGE BETWEEN {12 * HOUR} PRECEDING AND {11 * HOUR} FOLLOWING)\n"
        ")\n"
        f"SELECT {hour} AS hour, COUNT(*) AS days,\n"
        "       SUM(near > MAX(IFNULL(before, -1), IFNULL(after, -1))) AS days_on,\n"
        "       AVG(cpu_percent) AS cpu_percent, AVG(day_percent) AS day_percent\n"
        f"FROM around WHERE {is_hour} AND recorded >= {recurrence.MINIMUM_HOURS}\n"
        f"      AND ts >= {first + 12 * HOUR} AND ts <= {end - 12 * HOUR}"
    )


def unusual_hour(asked: Asked) -> Iterator[Finding]:
    """Of CPU and memory the hour of the last day that was furthest from the same hour of earlier days."""
    for metric, word in (("cpu_percent", "CPU"), ("memory_percent", "Memory")):
        first, values = _hours(asked, metric, PEAK_DAYS + 1)
        most: tuple[float, int] | None = None
        for at in range(max(0, len(values) - 24), len(values)):
            value = values[at]
            told = None if value is None else unusual.unusual(value, values[at % 24 : at : 24], UNUSUAL_DIFFERENCE)
            if told is not None and (most is None or abs(told.score) > abs(most[0])):
                most = told.score, first + at * HOUR
        if most is not None:
            yield from _unusual(asked, metric, word, first, most[1])


def _unusual(asked: Asked, metric: str, word: str, first: int, ts: int) -> Iterator[Finding]:
    sql = (
        "WITH earlier AS (\n"
        f"    SELECT {metric} AS value, ROW_NUMBER() OVER (ORDER BY {metric}) AS place, COUNT(*) OVER () AS days\n"
        f"    FROM hours WHERE ts >= {first} AND ts < {ts} AND (ts - {ts}) % {DAY} = 0 AND {metric} IS NOT NULL\n"
        ")\n"
        f"SELECT {ts} AS ts, (SELECT {metric} FROM hours WHERE ts = {ts}) AS value,\n"
        "       AVG(value) FILTER (WHERE place IN ((days + 1) / 2, days / 2 + 1)) AS usual, MIN(value) AS least,\n"
        "       MAX(value) AS most, COUNT(*) AS days\n"
        "FROM earlier"
    )
    row = asked.row(sql)
    if row is None:
        return
    busiest = asked.ask(
        f"SELECT name FROM process_hours WHERE ts = {ts} "
        f"ORDER BY {'cpu_seconds' if metric == 'cpu_percent' else 'memory_bytes'} DESC LIMIT 1"
    )
    who = f" {busiest[0]['name']} used most." if busiest else ""
    yield _finding(
        *("unusual_hour", "info"),
        f"{word} was at {row['value']:.0f} % in the hour from {asked.text(ts)}, where {row['usual']:.0f} % is usual",
        f"In the same hour of the {row['days']} days before it lay between {row['least']:.0f} and "
        f"{row['most']:.0f} %.{who}",
        *(row, sql),
    )


# -- the record itself

_BREAK_WORDS = {
    "killed": "Tidemark was killed",
    "rebooted": "the host booted",
    "storage": "the disk refused samples",
    "clock_step": "the clock was stepped",
    "overload": "the host was too busy to be sampled",
}


def gaps(asked: Asked) -> Iterator[Finding]:
    """Gaps of one reason that keep coming."""
    for reason, least in BREAKS.items():
        sql = (
            "SELECT COUNT(*) AS gaps, SUM(end_ts - start_ts) AS seconds, MAX(end_ts - start_ts) AS longest_seconds,\n"
            "       MAX(end_ts) AS last_ts\n"
            f"FROM gaps\nWHERE end_ts > {asked.now - BREAKS_DAYS * DAY} AND end_ts <= {asked.now} "
            f"AND reason = '{reason}'"
        )
        row = asked.row(sql)
        if row is not None and row["gaps"] >= least:
            yield _finding(
                *("gaps_recurring", "warning"),
                f"{row['gaps']} gaps in {BREAKS_DAYS} days because {_BREAK_WORDS[reason]}",
                f"{_span(row['seconds'])} were not recorded, {_span(row['longest_seconds'])} at a time at most, the "
                f"last until {asked.text(row['last_ts'])}.",
                *(row, sql),
            )


def restarts(asked: Asked) -> Iterator[Finding]:
    """Runs of the daemon that ended without a stop, also those so short that no sample was missed."""
    since = asked.now - BREAKS_DAYS * DAY
    sql = (
        "SELECT COUNT(*) AS unclean_ends, MAX(run_id) AS last_run_id\n"
        f"FROM runs\nWHERE clean = 0 AND started >= strftime('%Y-%m-%dT%H:%M:%SZ', {since}, 'unixepoch')\n"
        "      AND run_id < (SELECT MAX(run_id) FROM runs)"
    )
    row = asked.row(sql)
    if row is not None and row["unclean_ends"] >= BREAKS["killed"]:
        yield _finding(
            *("restarts_recurring", "warning"),
            f"Tidemark or the host ended without a stop {row['unclean_ends']} times in {BREAKS_DAYS} days",
            "No stored sample was lost, but whatever ends it (the kernel short of memory, power, a supervisor) goes "
            "on. The log of the host before each start says more.",
            *(row, sql),
        )


RULES: tuple[Callable[[Asked], Iterator[Finding]], ...] = (
    disk_filling,
    disk_full,
    memory_growing,
    memory_growing_for_days,
    memory_pressure,
    cpu_saturated,
    io_pressure,
    oversized,
    recurring_peak,
    unusual_hour,
    gaps,
    restarts,
)


# -- how good forecasts were

SCORE_SQL = (
    "WITH due AS (\n"
    "    SELECT is_full, earliest_ts, latest_ts, reached_ts FROM forecasts\n"
    "    WHERE latest_ts <= (SELECT MAX(ts) FROM filesystems)\n"
    ")\n"
    "SELECT (SELECT COUNT(*) FROM forecasts) AS made, COUNT(*) AS due,\n"
    "       COALESCE(SUM(reached_ts BETWEEN earliest_ts AND latest_ts), 0) AS held,\n"
    "       COALESCE(SUM(reached_ts < earliest_ts), 0) AS earlier,\n"
    "       COALESCE(SUM(reached_ts IS NULL OR reached_ts > latest_ts), 0) AS later\n"
    "FROM due"
)
