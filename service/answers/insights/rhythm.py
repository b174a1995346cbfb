"""What weeks show: a machine larger than needed, a peak that recurs each day, an hour unlike the same hour before."""

from collections.abc import Iterator
from math import ceil

from service.analysis import recurrence, unusual
from service.answers.insights.rules import Asked, Finding, Row, numbers
from service.clock import DAY, HOUR

# Larger than needed: p95 of the hours against what a well-used machine runs at.
OVERSIZED_DAYS = 30
OVERSIZED_RECORDED_DAYS = 20
CPU_TARGET_PERCENT = 70.0
MEMORY_TARGET_PERCENT = 80.0
OVERSIZED_SHARE = 0.5


def oversized(asked: Asked) -> Iterator[Finding]:
    """A month in which hardly any hour needed half of the machine."""
    sql = (
        "WITH ranked AS (\n"
        "    SELECT cpu_percent, memory_percent, covered_seconds,\n"
        "           SUM(covered_seconds) OVER (ORDER BY cpu_percent) AS to_cpu,\n"
        "           SUM(covered_seconds) OVER (ORDER BY memory_percent) AS to_memory,\n"
        "           SUM(covered_seconds) OVER () AS whole\n"
        f"    FROM hours WHERE {asked.window(OVERSIZED_DAYS * DAY)}\n"
        "          AND cpu_percent IS NOT NULL AND memory_percent IS NOT NULL\n"
        ")\n"
        "SELECT SUM(covered_seconds) AS recorded_seconds,\n"
        "       MIN(cpu_percent) FILTER (WHERE to_cpu >= 0.95 * whole) AS cpu_p95_percent,\n"
        "       MIN(memory_percent) FILTER (WHERE to_memory >= 0.95 * whole) AS memory_p95_percent,\n"
        f"       (SELECT cpus FROM captures WHERE ts < {asked.now} ORDER BY ts DESC LIMIT 1) AS cpus\n"
        "FROM ranked"
    )
    row = asked.row(sql)
    if row is None or (row["recorded_seconds"] or 0) < OVERSIZED_RECORDED_DAYS * DAY:
        return
    if enough := " and ".join(_enough(row)):
        yield Finding(
            code="oversized",
            severity="info",
            title=f"This machine is larger than needed: {enough} would be enough",
            detail=f"In 95 % of the hours of the last {OVERSIZED_DAYS} days the CPUs were at most "
            f"{row['cpu_p95_percent']:.0f} % busy and at most {row['memory_p95_percent']:.0f} % of memory was in use. "
            f"A machine is large enough where these are {CPU_TARGET_PERCENT:.0f} % and {MEMORY_TARGET_PERCENT:.0f} %.",
            evidence=numbers(row),
            sql=sql,
        )


def _enough(row: Row) -> Iterator[str]:
    """How many of the CPUs, how much of memory; nothing of what is needed."""
    cpus = row["cpus"] or 0
    cpu, memory = row["cpu_p95_percent"] / CPU_TARGET_PERCENT, row["memory_p95_percent"] / MEMORY_TARGET_PERCENT
    needed = ceil(cpus * cpu) or 1
    if cpu <= OVERSIZED_SHARE and needed < cpus:
        yield f"{needed} of its {cpus} CPUs"
    if memory <= OVERSIZED_SHARE:
        yield f"{100 * memory:.0f} % of its memory"


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


# The history in which an hour is the peak beyond chance, and by how much it is higher than the day around it.
PEAK_DAYS = 28
PEAK_HEIGHT_POINTS = 10.0


def recurring_peak(asked: Asked) -> Iterator[Finding]:
    """The hour of the day in which the CPU peaks on more days than chance allows."""
    first, values = _hours(asked, "cpu_percent", PEAK_DAYS)
    found = recurrence.daily_peak(values, (first + asked.offset_seconds) % DAY // HOUR, PEAK_HEIGHT_POINTS)
    if found is None:
        return
    end = first + len(values) * HOUR
    local = f"(ts + {asked.offset_seconds})" if asked.offset_seconds else "ts"
    is_hour = f"{local} % {DAY} / {HOUR} = {found.hour}"
    sql = _peak_sql(first, end, is_hour, found.hour)
    row = asked.row(sql)
    if row is None:
        return
    busiest = asked.row(
        "SELECT name, SUM(cpu_seconds) AS used FROM process_hours "
        f"WHERE ts >= {first} AND ts < {end} AND {is_hour} GROUP BY name ORDER BY used DESC LIMIT 1"
    )
    yield Finding(
        code="recurring_peak",
        severity="info",
        title=f"The CPU peaks each day at about {found.hour:02}:00, on {row['peak_days']} of {row['days']} days",
        detail=f"The hour from {found.hour:02}:00, or the one before or after it, was the busiest of the 24 around it: "
        f"{row['cpu_percent']:.0f} % on average, and {row['day_percent']:.0f} % in those 24 hours."
        + (f" {busiest['name']} used most CPU time in it." if busiest else ""),
        evidence=numbers(row),
        sql=sql,
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
        "       SUM(near > MAX(IFNULL(before, -1), IFNULL(after, -1))) AS peak_days,\n"
        "       AVG(cpu_percent) AS cpu_percent, AVG(day_percent) AS day_percent\n"
        f"FROM around WHERE {is_hour} AND recorded >= {recurrence.MINIMUM_HOURS}\n"
        f"      AND ts >= {first + 12 * HOUR} AND ts <= {end - 12 * HOUR}"
    )


# The earlier days that an hour is compared with, and by how much it must differ at least.
UNUSUAL_DAYS = 28
UNUSUAL_DIFFERENCE_POINTS = 15.0


def unusual_hour(asked: Asked) -> Iterator[Finding]:
    """Of CPU and memory the hour of the last day that was furthest from the same hour of earlier days."""
    for metric, word in (("cpu_percent", "CPU"), ("memory_percent", "Memory")):
        first, values = _hours(asked, metric, UNUSUAL_DAYS + 1)
        furthest = _furthest(values)
        if furthest is not None:
            yield from _unusual(asked, metric, word, first, first + furthest * HOUR)


def _furthest(values: list[float | None]) -> int | None:
    """Which of the last 24 hours is the most unusual one; None where none is."""
    scores: dict[int, float] = {}
    for at in range(max(0, len(values) - 24), len(values)):
        value = values[at]
        found = value is not None and unusual.unusual(value, values[at % 24 : at : 24], UNUSUAL_DIFFERENCE_POINTS)
        if found:
            scores[at] = abs(found.score)
    return max(scores, key=scores.__getitem__, default=None)


def _unusual(asked: Asked, metric: str, word: str, first: int, ts: int) -> Iterator[Finding]:
    sql = (
        "WITH earlier AS (\n"
        f"    SELECT {metric} AS value, ROW_NUMBER() OVER (ORDER BY {metric}) AS place, COUNT(*) OVER () AS days\n"
        f"    FROM hours WHERE ts >= {first} AND ts < {ts} AND (ts - {ts}) % {DAY} = 0 AND {metric} IS NOT NULL\n"
        ")\n"
        f"SELECT {ts} AS ts, (SELECT {metric} FROM hours WHERE ts = {ts}) AS {metric},\n"
        "       AVG(value) FILTER (WHERE place IN ((days + 1) / 2, days / 2 + 1)) AS usual_percent,\n"
        "       MIN(value) AS least_percent, MAX(value) AS most_percent, COUNT(*) AS days\n"
        "FROM earlier"
    )
    row = asked.row(sql)
    if row is None:
        return
    busiest = asked.row(
        f"SELECT name FROM process_hours WHERE ts = {ts} "
        f"ORDER BY {'cpu_seconds' if metric == 'cpu_percent' else 'memory_bytes'} DESC LIMIT 1"
    )
    yield Finding(
        code="unusual_hour",
        severity="info",
        title=f"{word} was at {row[metric]:.0f} % in the hour from {asked.text(ts)}; {row['usual_percent']:.0f} % is "
        "usual",
        detail=f"In the same hour of the {row['days']} days before, it was between {row['least_percent']:.0f} and "
        f"{row['most_percent']:.0f} %." + (f" {busiest['name']} used most." if busiest else ""),
        evidence=numbers(row),
        sql=sql,
    )
