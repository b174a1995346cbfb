"""What weeks show: a machine larger than needed, a peak that recurs each day, an hour unlike the same hour before."""

from collections.abc import Iterator
from math import ceil, inf

from service.analysis import recurrence, unusual
from service.answers.insights.rules import Asked, Finding, Row, numbers
from service.clock import DAY, HOUR, MINUTE

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
    """The hour of the day, by the local clock, in which the CPU peaks on more days than chance allows."""
    first, values = _hours(asked, "cpu_percent", PEAK_DAYS)
    begin, local = _by_local_hour(asked, first, values)
    found = recurrence.daily_peak(local, begin % 24, PEAK_HEIGHT_POINTS)
    if found is None:
        return
    end = first + len(values) * HOUR
    at = asked.local(first, end)
    row = asked.row(sql := _peak_sql(first, end, at, found.hour, (begin * HOUR, (begin + len(local)) * HOUR)))
    if row is None:
        return
    busiest = asked.row(
        f"SELECT name, SUM(cpu_seconds) AS used FROM process_hours WHERE ts >= {first} AND ts < {end} "
        f"AND {at} % {DAY} / {HOUR} = {found.hour} GROUP BY name ORDER BY used DESC LIMIT 1"
    )
    # Where local time is not whole hours ahead, the recorded hours do not begin with the clock's.
    clock = f"{found.hour:02}:{(end + asked.offset(end)) % HOUR // MINUTE:02}"
    yield Finding(
        code="recurring_peak",
        severity="info",
        title=f"The CPU peaks each day at about {clock}, on {row['peak_days']} of {row['days']} days",
        detail=f"The hour from {clock}, or the one before or after it, was the busiest of the 24 around it: "
        f"{row['cpu_percent']:.0f} % on average, and {row['day_percent']:.0f} % in those 24 hours."
        + (f" {busiest['name']} used most CPU time in it." if busiest else ""),
        evidence=numbers(row),
        sql=sql,
    )


def _by_local_hour(asked: Asked, first: int, values: list[float | None]) -> tuple[int, list[float | None]]:
    """The number of the first hour of the local clock, and the averages of these hours: when the clock is set back, one
    is two; when it is set forward, one is none."""
    by_number: dict[int, list[float]] = {}
    numbers = [(ts + asked.offset(ts)) // HOUR for ts in range(first, first + len(values) * HOUR, HOUR)]
    for number, value in zip(numbers, values, strict=True):
        if value is not None:
            by_number.setdefault(number, []).append(value)
    if not by_number:
        return 0, []
    known = {number: sum(same) / len(same) for number, same in by_number.items()}
    return numbers[0], [known.get(number) for number in range(numbers[0], numbers[-1] + 1)]


def _peak_sql(first: int, end: int, at: str, hour: int, local: tuple[int, int]) -> str:
    """On how many days the peak is at the hour, by the rule of `recurrence.daily_peak`. `at`: SQL for local time;
    `local`: where the local hours begin and end."""
    return (
        "WITH local AS (\n"
        f"    SELECT {at} / {HOUR} * {HOUR} AS at, AVG(cpu_percent) AS cpu_percent FROM hours\n"
        f"    WHERE ts >= {first} AND ts < {end} AND cpu_percent IS NOT NULL GROUP BY 1\n"
        "), around AS (\n"
        "    SELECT at, cpu_percent, COUNT(*) OVER day AS recorded, AVG(cpu_percent) OVER day AS day_percent,\n"
        f"           MAX(cpu_percent) OVER (ORDER BY at RANGE BETWEEN {HOUR} PRECEDING AND {HOUR} FOLLOWING) AS near,\n"
        f"           MAX(cpu_percent) OVER (ORDER BY at RANGE BETWEEN {12 * HOUR} PRECEDING AND {2 * HOUR} PRECEDING) "
        "AS before,\n"
        f"           MAX(cpu_percent) OVER (ORDER BY at RANGE BETWEEN {2 * HOUR} FOLLOWING AND {11 * HOUR} FOLLOWING) "
        "AS after\n"
        "    FROM local\n"
        f"    WINDOW day AS (ORDER BY at RANGE BETWEEN {12 * HOUR} PRECEDING AND {11 * HOUR} FOLLOWING)\n"
        ")\n"
        f"SELECT {hour} AS hour, COUNT(*) AS days,\n"
        "       SUM(near > MAX(IFNULL(before, -1), IFNULL(after, -1))) AS peak_days,\n"
        "       AVG(cpu_percent) AS cpu_percent, AVG(day_percent) AS day_percent\n"
        f"FROM around WHERE at % {DAY} / {HOUR} = {hour} AND recorded >= {recurrence.MINIMUM_HOURS}\n"
        f"      AND at >= {local[0] + 12 * HOUR} AND at <= {local[1] - 12 * HOUR}"
    )


# The earlier days that an hour is compared with, and by how much it must differ at least.
UNUSUAL_DAYS = 28
UNUSUAL_DIFFERENCE_POINTS = 15.0


def unusual_hour(asked: Asked) -> Iterator[Finding]:
    """Of CPU and memory the hour of the last day that was furthest from the same hour of earlier days."""
    for metric, word in (("cpu_percent", "CPU"), ("memory_percent", "Memory")):
        first, values = _hours(asked, metric, UNUSUAL_DAYS + 1)
        furthest = _furthest(asked, first, values)
        if furthest is not None:
            yield from _unusual(asked, metric, word, first, first + furthest * HOUR)


def _furthest(asked: Asked, first: int, values: list[float | None]) -> int | None:
    """Which of the last 24 hours is the most unusual one; None where none is.

    By the local clock, and by UTC too: some of what a host does follows the one and some the other, and neither is
    unusual when the clock is changed. Where it is changed by half an hour, hours cut differently are not the same.
    """
    stamps = range(first, first + len(values) * HOUR, HOUR)
    earlier = max(0, len(values) - 24)
    scores: dict[int, float] = dict.fromkeys(range(earlier, len(values)), inf)
    for places in ([_place(asked, ts) for ts in stamps], [ts % DAY for ts in stamps]):
        known = unusual.usual(values[:earlier], places[:earlier])
        for at in list(scores):
            value = values[at]
            found = value is not None and unusual.unusual(value, places[at], known, UNUSUAL_DIFFERENCE_POINTS)
            score = abs(found.score) if found else 0.0
            scores[at] = min(scores[at], score)
    return max((at for at in scores if scores[at]), key=scores.__getitem__, default=None)


def _place(asked: Asked, ts: int) -> int | None:
    """Where on the local clock an hour begins, in seconds; None for one within which the clock is changed."""
    offset = asked.offset(ts)
    return (ts + offset) % DAY if asked.offset(ts + HOUR - 1) == offset else None


def _unusual(asked: Asked, metric: str, word: str, first: int, ts: int) -> Iterator[Finding]:
    before = asked.now // HOUR * HOUR - DAY
    same = f"({asked.local(first, asked.now)} - {ts + asked.offset(ts)}) % {DAY} = 0"
    sql = (
        "WITH earlier AS (\n"
        f"    SELECT {metric} AS value, ROW_NUMBER() OVER (ORDER BY {metric}) AS place, COUNT(*) OVER () AS days\n"
        f"    FROM hours WHERE ts >= {first} AND ts < {before} AND {same} AND {metric} IS NOT NULL\n"
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
