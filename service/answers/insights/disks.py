"""File systems that fill up or are full, and how many of the forecasts held."""

from collections.abc import Iterator

from service.analysis import forecast
from service.answers.insights.rules import Asked, Finding, Severity, numbers, quoted, size, span
from service.clock import DAY, HOUR, MINUTE

# File systems are captured each minute. One that is missing from so many captures is not mounted any more, was mounted
# read-only or does not answer: what was last known of it is no finding.
CAPTURED_SECONDS = 5 * MINUTE
# A forecast is made each hour; an older one is left from before the daemon stopped.
FORECAST_FRESH_SECONDS = 2 * HOUR
# How near the early end of the forecast is.
FILLING_INFO_SECONDS, FILLING_WARNING_SECONDS, FILLING_CRITICAL_SECONDS = 30 * DAY, 7 * DAY, DAY


def _newest_capture(asked: Asked) -> str:
    """When one was last stored, in SQL: at a long interval that is long ago, also while all is well."""
    return f"(SELECT MAX(ts) FROM mounts WHERE ts <= {asked.now})"


def disk_filling(asked: Asked) -> Iterator[Finding]:
    """The newest forecast of each file system."""
    newest = (
        "SELECT mount, MAX(made_ts) AS made_ts FROM forecasts "
        f"WHERE is_full = 1 AND made_ts > {asked.now - FORECAST_FRESH_SECONDS} AND made_ts <= {asked.now} "
        f"AND mount NOT IN (SELECT mount FROM mounts WHERE ts < {_newest_capture(asked)} - {CAPTURED_SECONDS}) "
        "GROUP BY mount"
    )
    for made in asked.ask(newest):
        sql = (
            "SELECT mount, made_ts, level_bytes, growth_bytes_per_day, earliest_ts, middle_ts, latest_ts\n"
            f"FROM forecasts\nWHERE is_full = 1 AND made_ts = {made['made_ts']} AND mount = {quoted(made['mount'])}"
        )
        row = asked.row(sql)
        severity = row and _filling_severity(row["earliest_ts"] - asked.now)
        if row is None or not severity:
            continue
        latest = "a time too far ahead to say" if row["latest_ts"] is None else asked.text(row["latest_ts"])
        yield Finding(
            code="disk_filling",
            severity=severity,
            title=f"{row['mount']} is full in about {span(max(0, row['middle_ts'] - asked.now))}",
            detail=f"It grows by {size(row['growth_bytes_per_day'])} a day. With a probability of "
            f"{100 * forecast.NOMINAL:.0f} % it is full between {asked.text(row['earliest_ts'])} and {latest}.",
            evidence=numbers(row),
            sql=sql,
        )


def _filling_severity(ahead_seconds: float) -> Severity | None:
    if ahead_seconds <= FILLING_CRITICAL_SECONDS:
        return "critical"
    if ahead_seconds <= FILLING_WARNING_SECONDS:
        return "warning"
    return "info" if ahead_seconds <= FILLING_INFO_SECONDS else None


# What is left, as a share of what users may have.
FULL_WARNING_SHARE = 0.05
FULL_WARNING_BYTES = 50 * 10**9
FULL_CRITICAL_SHARE = 0.01


def disk_full(asked: Asked) -> Iterator[Finding]:
    """File systems with almost no room left."""
    captured = (
        f"SELECT mount FROM mounts WHERE ts > {asked.now - HOUR} "
        f"AND ts >= {_newest_capture(asked)} - {CAPTURED_SECONDS}"
    )
    for mount in asked.ask(captured):
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
            yield Finding(
                code="disk_full",
                severity="critical" if free < FULL_CRITICAL_SHARE else "warning",
                title=f"{row['mount']} is {row['used_percent']:.1f} % full",
                detail=f"Of {size(row['total_bytes'])}, {size(row['available_bytes'])} are left to users other than "
                "root.",
                evidence=numbers(row),
                sql=sql,
            )


# How many of the forecasts that have come due held. One is made each hour, and those that overlap hold or fail
# together: `independent` counts only those, by file system, that were made after the one counted before had come due.
SCORE_SQL = (
    "WITH RECURSIVE due AS (\n"
    "    SELECT mount, made_ts, earliest_ts, latest_ts, reached_ts FROM forecasts\n"
    "    WHERE latest_ts <= (SELECT MAX(ts) FROM filesystems)\n"
    "), chain AS (\n"
    "    SELECT mount, 0 AS due_ts, 0 AS counted FROM due GROUP BY mount\n"
    "    UNION ALL\n"
    "    SELECT chain.mount, (SELECT latest_ts FROM due WHERE due.mount = chain.mount AND made_ts >= chain.due_ts\n"
    "                         AND latest_ts > chain.due_ts ORDER BY made_ts, latest_ts LIMIT 1), counted + 1\n"
    "    FROM chain WHERE due_ts IS NOT NULL\n"
    ")\n"
    "SELECT (SELECT COUNT(*) FROM forecasts) AS made, COUNT(*) AS due,\n"
    "       COALESCE(SUM(reached_ts BETWEEN earliest_ts AND latest_ts), 0) AS held,\n"
    "       COALESCE(SUM(reached_ts < earliest_ts), 0) AS earlier,\n"
    "       COALESCE(SUM(reached_ts IS NULL OR reached_ts > latest_ts), 0) AS later,\n"
    "       (SELECT COUNT(*) FROM chain WHERE counted > 0 AND due_ts IS NOT NULL) AS independent\n"
    "FROM due"
)
