"""What devices did, reduced to hours for years; and what of it is deleted."""

from service.clock import DAY, HOUR
from service.store.device_schema import COUNTED, FASTEST, HOURS, ROWS
from service.store.schema import MIDDLE_MS
from service.store.statements import Statements

# No row covers more: to the end of an hour, and as long as captures may be apart.
_SLACK_SECONDS = 2 * HOUR
# Of an hour so many virtual devices of a kind are kept by themselves: those that moved most.
MOST_VIRTUAL = 20
# A row that covers less says nothing of how fast it was.
_LEAST_MS = 900


def progress(statements: Statements) -> tuple[int, int]:
    """`hours_until` and `rows_from` (see the table `device_progress`)."""
    ((hours, rows_from),) = statements.rows("SELECT hours_until, rows_from FROM device_progress")
    return hours, rows_from


def oldest(statements: Statements) -> int | None:
    """The stamp of the first row."""
    return _extreme(statements, "MIN")


def roll_up(statements: Statements) -> bool:
    """One bounded step: reduce the next hour that has rows and that a row lies after. Doing it twice is the same as
    once.

    :returns: whether there is more to do.
    """
    until, rows_from = progress(statements)
    newest, following = _extreme(statements, "MAX"), _first_after(statements, until)
    if newest is None or following is None:
        return False
    hour = max(until, following // HOUR * HOUR)
    # The rows of hundreds of virtual devices may end some minutes after the hour.
    if hour + HOUR > newest - HOUR // 12:
        return False
    if hour >= rows_from:
        _reduce_hour(statements, hour)
    statements.run("UPDATE device_progress SET hours_until = ?", (hour + HOUR,))
    return True


def _extreme(statements: Statements, which: str) -> int | None:
    each = " UNION ALL ".join(f"SELECT {which}(ts) AS ts FROM {table}" for table in ROWS)
    return statements.number(f"SELECT {which}(ts) FROM ({each})")


def _first_after(statements: Statements, until: int) -> int | None:
    """The middle of the first row that ends after a second."""
    first = f"SELECT * FROM (SELECT ({MIDDLE_MS}) / 1000 AS middle FROM {{}} WHERE ts > ? ORDER BY ts LIMIT 1)"
    each = " UNION ALL ".join(map(first.format, ROWS))
    return statements.number(f"SELECT MIN(middle) FROM ({each})", (until,) * len(ROWS))


# A row belongs to the hour in which its middle lies.
_WITHIN = (
    f"ts >= :start AND ts <= :start + {HOUR + _SLACK_SECONDS} AND {MIDDLE_MS} >= :start * 1000 "
    f"AND {MIDDLE_MS} < (:start + {HOUR}) * 1000"
)


def _reduce_hour(statements: Statements, hour: int) -> None:
    for table in HOURS:
        # By device, with which the key begins: all of the table would be read otherwise.
        statements.run(
            f"DELETE FROM {table} WHERE (device_id, ts) IN (SELECT device_id, :start FROM device)", {"start": hour}
        )
    for kind in COUNTED:
        _reduce_counted(statements, kind, hour)
    statements.run(
        "INSERT INTO device_value_hour (device_id, ts, covered_ms, value_e2, value_min_e1, value_max_e1, state) "
        "SELECT device_id, :start, covered, value, least, most, (SELECT state FROM device_value AS v WHERE v.ts = last "
        "AND v.device_id = found.device_id ORDER BY stretch_id DESC LIMIT 1) FROM ("
        "SELECT device_id, SUM(covered_ms) AS covered, "
        "CAST(round(10.0 * SUM(1.0 * value_e1 * covered_ms) / SUM(covered_ms)) AS INTEGER) AS value, "
        "MIN(value_e1) AS least, MAX(value_e1) AS most, MAX(ts) AS last "
        f"FROM device_value WHERE {_WITHIN} AND value_e1 IS NOT NULL GROUP BY device_id) AS found",
        {"start": hour},
    )


def _reduce_counted(statements: Statements, kind: str, hour: int) -> None:
    """Virtual devices beyond MOST_VIRTUAL are left out: their rows last as long as captures do. What is not known of
    each row is not known of the hour: one in which an older version recorded too has no directions."""
    counted, fastest, table = COUNTED[kind], FASTEST[kind], f"{kind}_usage"
    state = ("state", "speed_mbit") if kind == "interface" else ()
    sums = ", ".join(f"CASE COUNT({name}) WHEN COUNT(*) THEN SUM({name}) END AS {name}" for name in counted)
    rates = ", ".join(
        f"CAST(MAX(1000.0 * {name} / covered_ms) FILTER (WHERE covered_ms >= {_LEAST_MS}) AS INTEGER) AS {name}_max"
        for name in fastest
    )
    columns = (*counted, *(f"{name}_max" for name in fastest))
    last = "".join(
        f", (SELECT {name} FROM {table} AS u WHERE u.ts = last AND u.device_id = found.device_id "
        "ORDER BY stretch_id DESC LIMIT 1)"
        for name in state
    )
    order = f"is_virtual * (1 + {counted[0]} + {counted[1]})"
    statements.run(
        f"INSERT INTO {kind}_hour (device_id, ts, covered_ms, {', '.join((*columns, *state))}) "
        f"SELECT device_id, :start, covered, {', '.join(columns)}{last} FROM ("
        f"SELECT found.*, is_virtual, ROW_NUMBER() OVER (PARTITION BY is_virtual ORDER BY {order} DESC) AS place FROM ("
        f"SELECT device_id, SUM(covered_ms) AS covered, {sums}, {rates}, MAX(ts) AS last FROM {table} "
        f"WHERE {_WITHIN} AND {counted[0]} IS NOT NULL GROUP BY device_id) AS found JOIN device USING (device_id)"
        ") AS found WHERE NOT is_virtual OR place <= :most",
        {"start": hour, "most": MOST_VIRTUAL},
    )


def prune(statements: Statements, rows_before: int, hours_before: int, most: int) -> bool:
    """One bounded step: delete the oldest rows that are reduced, the oldest hours, and devices without any.

    `most`: how many rows of each table at once.

    :returns: whether there is more to do.
    """
    until, rows_from = progress(statements)
    before = min(rows_before, until) // HOUR * HOUR
    end, gone = before, 0
    for table in ROWS:
        last = statements.number(f"SELECT ts FROM {table} WHERE ts <= ? ORDER BY ts LIMIT 1 OFFSET {most}", (before,))
        end = end if last is None else min(end, last // HOUR * HOUR + HOUR)
    for table in ROWS:
        gone += statements.run(f"DELETE FROM {table} WHERE ts <= ?", (end,))
    if gone and end > rows_from:
        statements.run("UPDATE device_progress SET rows_from = ?", (end,))
    for table in HOURS:
        has_old = f"EXISTS (SELECT 1 FROM {table} AS h WHERE h.device_id = device.device_id AND h.ts < ?)"
        for (device_id,) in statements.rows(f"SELECT device_id FROM device WHERE {has_old}", (hours_before,)):
            statements.run(f"DELETE FROM {table} WHERE device_id = ? AND ts < ?", (device_id, hours_before))
    _forget(statements, min(end, rows_before) - 2 * DAY)
    return end < before


def _forget(statements: Statements, seen_before: int) -> None:
    """Delete the devices that were last seen before that second, and of which no hour is kept."""
    kept = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {table} AS kept WHERE kept.device_id = device.device_id)" for table in HOURS
    )
    statements.run(f"DELETE FROM device WHERE last_ts < ? AND {kept}", (seen_before,))
