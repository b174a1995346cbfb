"""Memory that grows, in one process or from day to day, and memory that is short."""

from collections.abc import Iterator

from service.answers.insights.rules import Asked, Finding, Row, numbers, quoted, size, span
from service.clock import DAY, HOUR, MINUTE

# A process that grows without giving anything back: how often, by how much, and what keeps caches and starts out.
GROWTH_CAPTURES = 7
GROWTH_BYTES = 100 * 10**6
GROWTH_FACTOR = 1.5
GROWTH_FALLS_SHARE = 0.02
GROWTH_LATE_SHARE = 0.15
GROWTH_KEPT_SHARE = 0.98


def memory_growing(asked: Asked) -> Iterator[Finding]:
    """Processes that grew from capture to capture in the last day, until the end, and gave nothing back."""
    start = asked.now - DAY
    candidates = (
        "SELECT name, pid, MAX(ts) AS last_ts FROM processes "
        f"WHERE ts > {start} AND ts <= {asked.now} GROUP BY name, pid HAVING COUNT(*) > {GROWTH_CAPTURES} "
        f"AND MAX(memory_bytes) - MIN(memory_bytes) >= {GROWTH_BYTES}"
    )
    newest = asked.row(f"SELECT MAX(ts) AS ts FROM captures WHERE ts <= {asked.now}")
    for candidate in asked.ask(candidates):
        sql = _growth_sql(candidate["name"], candidate["pid"], start, candidate["last_ts"])
        row = asked.row(sql)
        if row is not None and _is_growing(row):
            is_alive = newest is not None and row["last_ts"] == newest["ts"]
            yield Finding(
                code="memory_growing",
                severity="warning" if is_alive else "info",
                title=f"{row['name']} grew by {size(row['growth_bytes'])} in {span(row['last_ts'] - row['first_ts'])} "
                "and gave nothing back",
                detail=f"Process {row['pid']} had {size(row['first_bytes'])} at {asked.text(row['first_ts'])} and "
                f"{size(row['last_bytes'])} at {asked.text(row['last_ts'])}. Of {row['captures']} captures, "
                f"{row['rising_captures']} found it larger than the one before and {row['falling_captures']} smaller."
                + ("" if is_alive else " It has ended since, or is no longer among the largest."),
                evidence=numbers(row),
                sql=sql,
            )


def _growth_sql(name: str, pid: int, start: int, last: int) -> str:
    return (
        "WITH course AS (\n"
        "    SELECT ts, memory_bytes, memory_bytes - LAG(memory_bytes) OVER (ORDER BY ts) AS change,\n"
        "           FIRST_VALUE(memory_bytes) OVER (ORDER BY ts) AS first_bytes,\n"
        "           NTILE(3) OVER (ORDER BY ts) AS third\n"
        f"    FROM processes WHERE name = {quoted(name)} AND pid = {pid} AND ts > {start} AND ts <= {last}\n"
        ")\n"
        f"SELECT {quoted(name)} AS name, {pid} AS pid, COUNT(*) AS captures, SUM(change > 0) AS rising_captures,\n"
        "       SUM(change < 0) AS falling_captures, MIN(ts) AS first_ts, MAX(ts) AS last_ts,\n"
        "       MIN(first_bytes) AS first_bytes,\n"
        "       (SELECT memory_bytes FROM course ORDER BY ts DESC LIMIT 1) AS last_bytes,\n"
        "       MAX(memory_bytes) AS most_bytes,\n"
        "       (SELECT memory_bytes FROM course ORDER BY ts DESC LIMIT 1) - MIN(first_bytes) AS growth_bytes,\n"
        "       SUM(change) FILTER (WHERE third = 3) AS late_growth_bytes\n"
        "FROM course"
    )


def _is_growing(row: Row) -> bool:
    return bool(
        row["rising_captures"] >= GROWTH_CAPTURES
        and row["growth_bytes"] >= GROWTH_BYTES
        and row["last_bytes"] >= GROWTH_FACTOR * row["first_bytes"]
        and row["falling_captures"] <= GROWTH_FALLS_SHARE * row["captures"]
        and row["late_growth_bytes"] >= GROWTH_LATE_SHARE * row["growth_bytes"]
        and row["last_bytes"] >= GROWTH_KEPT_SHARE * row["most_bytes"]
    )


# A name whose memory grows from day to day. Eight days in a row that owe nothing to each other rise by chance once in
# 8! = 40320 times; six did once in 720, and each name is asked for each day.
DAILY_GROWTH_DAYS = 8
DAILY_GROWTH_BYTES = 100 * 10**6
DAILY_GROWTH_FACTOR = 1.2


def memory_growing_for_days(asked: Asked) -> Iterator[Finding]:
    """Names of which the least hour of each day had more memory than that of the day before."""
    end = asked.now // DAY * DAY
    window = f"ts >= {end - DAILY_GROWTH_DAYS * DAY} AND ts < {end}"
    candidates = (
        f"SELECT name FROM process_hours WHERE {window} GROUP BY name "
        f"HAVING COUNT(DISTINCT ts / {DAY}) = {DAILY_GROWTH_DAYS} "
        f"AND MAX(memory_bytes) - MIN(memory_bytes) >= {DAILY_GROWTH_BYTES}"
    )
    for candidate in asked.ask(candidates):
        sql = _daily_growth_sql(candidate["name"], window)
        row = asked.row(sql)
        if row is not None and is_growing_for_days(row):
            yield Finding(
                code="memory_growing",
                severity="warning",
                title=f"{row['name']} holds more memory each day: {size(row['growth_bytes'])} more in "
                f"{row['days']} days",
                detail=f"In the hour of the day in which it held least, it held {size(row['first_bytes'])} on the "
                f"first of these days and {size(row['last_bytes'])} on the last, each day more than on the day before.",
                evidence=numbers(row),
                sql=sql,
            )


def _daily_growth_sql(name: str, window: str) -> str:
    return (
        "WITH day AS (\n"
        f"    SELECT ts / {DAY} AS day, MIN(memory_bytes) AS least FROM process_hours\n"
        f"    WHERE name = {quoted(name)} AND {window} GROUP BY 1\n"
        "), change AS (\n"
        "    SELECT day, least, least - LAG(least) OVER (ORDER BY day) AS grown FROM day\n"
        ")\n"
        f"SELECT {quoted(name)} AS name, COUNT(*) AS days, SUM(grown > 0) AS rising_days,\n"
        "       (SELECT least FROM day ORDER BY day LIMIT 1) AS first_bytes,\n"
        "       (SELECT least FROM day ORDER BY day DESC LIMIT 1) AS last_bytes, SUM(grown) AS growth_bytes\n"
        "FROM change"
    )


def is_growing_for_days(row: Row) -> bool:
    """Whether what `_daily_growth_sql` found is growth: every day more than the day before, and enough of it."""
    return bool(
        row["days"] == DAILY_GROWTH_DAYS
        and row["rising_days"] == DAILY_GROWTH_DAYS - 1
        and row["growth_bytes"] >= DAILY_GROWTH_BYTES
        and row["last_bytes"] >= DAILY_GROWTH_FACTOR * row["first_bytes"]
    )


# In how many minutes of a day memory was short, and what short means.
SHORT_MINUTES = 10
SHORT_PRESSURE_PERCENT = 10.0
SHORT_MEMORY_PERCENT = 95.0


def memory_pressure(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which tasks waited for memory, or hardly any was left."""
    sql = (
        "SELECT COUNT(*) AS short_minutes, MAX(memory_pressure) AS most_memory_pressure_percent,\n"
        "       MAX(memory_percent_max) AS most_memory_percent, MAX(swap_percent_max) AS most_swap_percent,\n"
        "       MAX(ts) AS last_ts\n"
        f"FROM minutes\nWHERE {asked.window(DAY)} "
        f"AND (memory_pressure >= {SHORT_PRESSURE_PERCENT} OR memory_percent >= {SHORT_MEMORY_PERCENT})"
    )
    row = asked.row(sql)
    if row is not None and row["short_minutes"] >= SHORT_MINUTES:
        yield Finding(
            code="memory_pressure",
            severity="warning",
            title=f"Memory was short for {row['short_minutes']} minutes of the last 24 hours",
            detail=f"{_pressure_words(row)}{_largest(asked, row['last_ts'])}",
            evidence=numbers(row),
            sql=sql,
        )


def _pressure_words(row: Row) -> str:
    if row["most_memory_percent"] is None:
        return f"Tasks waited for it in up to {row['most_memory_pressure_percent']:.0f} % of a minute."
    words = f"Up to {row['most_memory_percent']:.0f} % of it"
    if row["most_swap_percent"] is not None:
        words += f" and up to {row['most_swap_percent']:.0f} % of the swap"
    words += " were in use"
    if row["most_memory_pressure_percent"]:
        words += f"; tasks waited for memory in up to {row['most_memory_pressure_percent']:.0f} % of a minute"
    return f"{words}."


def _largest(asked: Asked, ts: int) -> str:
    row = asked.row(
        "SELECT name, SUM(memory_bytes) AS memory_bytes FROM process_names WHERE ts = "
        f"(SELECT MAX(ts) FROM captures WHERE ts <= {ts + MINUTE}) AND ts > {ts - HOUR} "
        "GROUP BY name ORDER BY 2 DESC LIMIT 1"
    )
    return f" The largest was {row['name']} with {size(row['memory_bytes'])}." if row else ""


# In how many minutes of a day how much went to swap and came back, and by which of two signs tasks waited for it.
STORM_MINUTES = 10
STORM_BYTES = 10**6
STORM_PRESSURE_PERCENT = 10.0
STORM_FAULTS = 100


def swap_storm(asked: Asked) -> Iterator[Finding]:
    """Minutes of the last day in which tasks waited while memory went to swap and back. Swapping out alone is how the
    kernel makes room, and no finding."""
    sql = (
        "SELECT COUNT(*) AS storm_minutes, SUM(swap_in_bytes_increase) AS swap_in_bytes,\n"
        "       SUM(swap_out_bytes_increase) AS swap_out_bytes, MAX(memory_pressure) AS most_memory_pressure_percent,\n"
        "       MAX(major_faults_increase / covered_seconds) AS most_faults_per_second, MAX(ts) AS last_ts\n"
        f"FROM minutes\nWHERE {asked.window(DAY)} AND covered_seconds > 0\n"
        f"      AND swap_in_bytes_increase >= {STORM_BYTES} * covered_seconds\n"
        f"      AND swap_out_bytes_increase >= {STORM_BYTES} * covered_seconds\n"
        f"      AND (memory_pressure >= {STORM_PRESSURE_PERCENT} OR\n"
        f"           memory_pressure IS NULL AND major_faults_increase >= {STORM_FAULTS} * covered_seconds)"
    )
    row = asked.row(sql)
    if row is not None and row["storm_minutes"] >= STORM_MINUTES:
        yield Finding(
            code="swap_storm",
            severity="warning",
            title=f"Memory went to swap and back for {row['storm_minutes']} minutes of the last 24 hours",
            detail=f"In these minutes {size(row['swap_out_bytes'])} were swapped out and {size(row['swap_in_bytes'])} "
            f"read again, and tasks waited for it.{_largest(asked, row['last_ts'])}",
            evidence=numbers(row),
            sql=sql,
        )


# One process that the kernel ended is one too many.
OOM_KILLS = 1


def oom_killed(asked: Asked) -> Iterator[Finding]:
    """Services of which the kernel ended processes for lack of memory in the last day; the host, where none is known
    of which they were."""
    killed = f"{asked.window(DAY)} AND oom_kills > 0"
    services = asked.ask(f"SELECT DISTINCT service FROM services WHERE {killed}")
    for service in services:
        sql = (
            "SELECT service, SUM(oom_kills) AS kills, MAX(memory_bytes) AS memory_bytes, MAX(ts) AS last_ts\n"
            f"FROM services\nWHERE {killed} AND service = {quoted(service['service'])}"
        )
        yield from _killed(asked, sql)
    if not services:
        yield from _killed(
            asked,
            "SELECT SUM(oom_kills_increase) AS kills, MAX(ts) AS last_ts\n"
            f"FROM minutes\nWHERE {asked.window(DAY)} AND oom_kills_increase > 0",
        )


def _killed(asked: Asked, sql: str) -> Iterator[Finding]:
    row = asked.row(sql)
    if row is None or row["kills"] < OOM_KILLS:
        return
    service = row.get("service")
    of = f" of {service}" if service and service != "/" else ""
    processes = "a process" if row["kills"] == 1 else f"{row['kills']} processes"
    left = f" After it, it held {size(row['memory_bytes'])}." if of and row["memory_bytes"] else ""
    unknown = "" if of else " Of which service is not known."
    yield Finding(
        code="oom_killed",
        severity="warning",
        title=f"The kernel ended {processes}{of} for lack of memory in the last 24 hours",
        detail=f"The last time shortly before {asked.text(row['last_ts'])}.{left}{unknown}"
        if service is not None
        else f"The last time in the minute from {asked.text(row['last_ts'])} on.{unknown}",
        evidence=numbers(row),
        sql=sql,
    )
