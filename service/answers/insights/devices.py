"""Devices in trouble: disks that cannot keep up, interfaces with errors, sensors near their limit."""

from collections.abc import Iterator

from service.answers.insights.rules import Asked, Finding, Row, numbers, quoted, size
from service.clock import DAY

# For how long of a day a disk could not keep up: how busy it was, and how long an operation took. A disk that serves
# many at once may have room at 100 %, so that both must hold.
BUSY_MINUTES = 30
BUSY_PERCENT = 95.0
BUSY_WAIT_MS = 20


def disk_busy(asked: Asked) -> Iterator[Finding]:
    """Disks that were busy nearly all the time while what was asked of them took long, in the last day."""
    # Busy and no operation ended: it hangs.
    slow = (
        f"{asked.window(DAY)} AND busy_percent >= {BUSY_PERCENT} "
        f"AND (wait_ms >= {BUSY_WAIT_MS} OR read_operations + written_operations = 0)"
    )
    least = f"HAVING SUM(covered_seconds) >= {60 * BUSY_MINUTES}"
    for disk in asked.ask(f"SELECT disk FROM disks WHERE {slow} GROUP BY disk {least}"):
        where = f"{slow} AND disk = {quoted(disk['disk'])}"
        sql = (
            "SELECT disk, SUM(covered_seconds) / 60 AS busy_minutes,\n"
            "       SUM(busy_percent * covered_seconds) / SUM(covered_seconds) AS busy_percent,\n"
            "       SUM(wait_ms * (read_operations + written_operations)) / SUM(read_operations + written_operations)\n"
            "       AS wait_ms,\n"
            "       SUM(read_bytes) AS read_bytes, SUM(written_bytes) AS written_bytes, MAX(ts) AS last_ts\n"
            f"FROM disks\nWHERE {where}"
        )
        row = asked.row(sql)
        if row is None or row["busy_minutes"] < BUSY_MINUTES:
            continue
        took = "no operation ended" if row["wait_ms"] is None else f"an operation took {row['wait_ms']:.0f} ms"
        yield Finding(
            code="disk_busy",
            severity="warning",
            title=f"The disk {row['disk']} could not keep up for {row['busy_minutes']:.0f} minutes of the last day",
            detail=f"In these minutes it was busy {row['busy_percent']:.0f} % of the time and {took}; "
            f"{size(row['read_bytes'] or 0)} were read and {size(row['written_bytes'] or 0)} written."
            f"{_who_wrote(asked, where)}",
            evidence=numbers(row),
            sql=sql,
            device=f"disk:{row['disk']}",
        )


# Who wrote is asked of the last of these captures: of a whole day it would take longer than all other rules together.
_WROTE_CAPTURES = 120


def _who_wrote(asked: Asked, where: str) -> str:
    """Which service wrote most then. The kernel counts it over all disks; disks and services are read one after the
    other, so that their stamps may be a second apart."""
    row = asked.row(
        f"WITH busy AS (SELECT ts FROM disks WHERE {where} ORDER BY ts DESC LIMIT {_WROTE_CAPTURES}) "
        "SELECT service, SUM(written_bytes) AS written_bytes FROM services "
        "WHERE ts IN (SELECT ts - 1 FROM busy UNION SELECT ts FROM busy UNION SELECT ts + 1 FROM busy) "
        "GROUP BY service HAVING SUM(written_bytes) > 0 ORDER BY 2 DESC LIMIT 1"
    )
    if row is None:
        return ""
    name = "what runs in no service" if row["service"] == "/" else row["service"]
    return f" Of the services {name} wrote most in the last of them, {size(row['written_bytes'])} to all disks."


# How many packets with errors, in how many different hours of a day, are more than a cable that was plugged in.
ERRORS = 100
ERRORS_HOURS = 3


def interface_errors(asked: Asked) -> Iterator[Finding]:
    """Interfaces that counted packets with errors again and again in the last day. Drops alone are no finding: what
    nobody listens for is dropped, too."""
    faulty = f"{asked.window(DAY)} AND errors > 0"
    candidates = f"SELECT interface FROM interfaces WHERE {faulty} GROUP BY interface HAVING SUM(errors) >= {ERRORS}"
    for interface in asked.ask(candidates):
        sql = (
            "SELECT interface, SUM(errors) AS errors, COUNT(DISTINCT ts / 3600) AS hours, SUM(drops) AS drops,\n"
            "       MAX(ts) AS last_ts\n"
            f"FROM interfaces\nWHERE {faulty} AND interface = {quoted(interface['interface'])}"
        )
        row = asked.row(sql)
        if row is not None and row["errors"] >= ERRORS and row["hours"] >= ERRORS_HOURS:
            yield Finding(
                code="interface_errors",
                severity="warning",
                title=f"The interface {row['interface']} had {row['errors']} packets with errors in the last 24 hours",
                detail=f"They came in {row['hours']} different hours, the last until {asked.text(row['last_ts'])}: a "
                "cable, a plug, the other end of the line, or the card.",
                evidence=numbers(row),
                sql=sql,
                device=f"interface:{row['interface']}",
            )


# For how long of a day a sensor was so near to what its device calls hot (too hot, where it says only that).
HOT_MINUTES = 10
HOT_CELSIUS = 5


def sensor_hot(asked: Asked) -> Iterator[Finding]:
    """Sensors that came near to their limit in the last day; critical once they reached what is too hot."""
    limit = "COALESCE(limit_celsius, critical_celsius)"
    near = f"celsius >= {limit} - {HOT_CELSIUS}"
    candidates = f"SELECT DISTINCT sensor FROM sensors WHERE {asked.window(DAY)} AND {limit} > 0 AND {near}"
    for sensor in asked.ask(candidates):
        sql = (
            f"SELECT sensor, SUM(covered_seconds) FILTER (WHERE {near}) / 60 AS hot_minutes,\n"
            "       MIN(celsius) AS lowest_celsius, MAX(celsius) AS highest_celsius,\n"
            f"       MAX({limit}) AS limit_celsius, MAX(critical_celsius) AS critical_celsius,\n"
            f"       MAX(ts) FILTER (WHERE {near}) AS last_ts\n"
            f"FROM sensors\nWHERE {asked.window(DAY)} AND sensor = {quoted(sensor['sensor'])}"
        )
        row = asked.row(sql)
        if row is not None and _is_hot(row):
            critical = row["critical_celsius"]
            yield Finding(
                code="sensor_hot",
                severity="critical" if critical and row["highest_celsius"] >= critical else "warning",
                title=f"{row['sensor']} was near its limit for {row['hot_minutes']:.0f} minutes of the last 24 hours",
                detail=f"It showed up to {row['highest_celsius']:.0f} °C; its device gives {row['limit_celsius']:.0f} "
                f"°C as the limit. It was near it until {asked.text(row['last_ts'])}.",
                evidence=numbers(row),
                sql=sql,
                device=f"sensor:{row['sensor']}",
            )


def _is_hot(row: Row) -> bool:
    """A sensor that shows the same all day is broken or a constant, and nothing is warm."""
    return (row["hot_minutes"] or 0) >= HOT_MINUTES and row["highest_celsius"] > row["lowest_celsius"]
