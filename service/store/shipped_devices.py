"""What file systems, disks, interfaces and sensors did, as it is forwarded; statements alone.

A row: the values of the labels, ts, the milliseconds that it covers, what was counted in them, and what was shown.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.store import forwards
from service.store.device_schema import ROWS, STATES
from service.store.forwards import Position, Stretch
from service.store.statements import Row, Statements

_UP = STATES.index("up")
_COUNTED = {
    "disk": "read_sectors, written_sectors, read_operations, written_operations, busy_ms, wait_ms",
    "interface": (
        "received_bytes, sent_bytes, received_packets, sent_packets, "
        "errors - sent_errors, sent_errors, drops - sent_drops, sent_drops"
    ),
}
_WITHIN = "ts > ? AND ts <= ? AND stretch_id = ? ORDER BY ts"
_OF_DEVICES = "FROM {}_usage CROSS JOIN device USING (device_id) WHERE kind = '{}'"
_ROWS = {
    "disk": f"SELECT name, ts, covered_ms, {_COUNTED['disk']} {_OF_DEVICES.format('disk', 'disk')}",
    "interface": (
        f"SELECT name, ts, covered_ms, {_COUNTED['interface']}, state = {_UP}, speed_mbit "
        f"{_OF_DEVICES.format('interface', 'interface')}"
    ),
    "sensor": (
        "SELECT substr(name, 1, instr(name, '/') - 1), substr(name, instr(name, '/') + 1), ts, covered_ms, value_e1, "
        "limit_e1, critical_e1 FROM device_value CROSS JOIN device USING (device_id) "
        "WHERE kind = 'sensor' AND name LIKE '%/%' AND name NOT LIKE 'thermal_zone%'"
    ),
    # A limit that is none is told as the kernel tells it.
    "capture": (
        f"SELECT ts, covered_ms, open_files, COALESCE(open_files_limit, {2**63 - 1}) FROM capture "
        "WHERE open_files IS NOT NULL"
    ),
    # What has a row could be written and answered.
    "mount": (
        "SELECT device, type, path, ts, 0, total_kb, total_kb - used_kb, available_kb, total_inodes, "
        "total_inodes - used_inodes, 0, 0 FROM mount CROSS JOIN filesystem USING (mount_id) WHERE 1"
    ),
}


class Span(NamedTuple):
    """A part of a stretch: after < ts <= until. `next`: where what comes after it begins."""

    stretch: Stretch
    after: int
    until: int
    next: Position


def span(statements: Statements, after: Position, until: Position, seconds: int) -> Span | None:
    """What comes first after one place and up to another, at most so long; None where nothing does.

    The last rows of a stretch may be stamped after its last sample.
    """
    if after >= until:
        return None
    for stretch, begins, ends in forwards.spans(statements, after):
        if stretch.stretch_id > until.stretch_id:
            break
        begins = max(begins, stretch.start_ts - 2)
        is_last = stretch.stretch_id == until.stretch_id
        newest = statements.number("SELECT MAX(ts) FROM sample") or 0
        bound = until.ts if is_last else min(ends, newest) + seconds
        end = min(begins + seconds, bound)
        is_done = not is_last and begins + seconds >= bound
        return Span(stretch, begins, end, Position(stretch.stretch_id + is_done, -1 if is_done else end))
    return None


def settled(statements: Statements, until: Position) -> Position:
    """Up to where all rows are stored, of those up to a place: they may wait for minutes, but those of one time are
    stored together, so that none comes any more which is older than one that is there."""
    newest = (
        f"SELECT * FROM (SELECT ts FROM {table} WHERE ts <= ? AND stretch_id = ? ORDER BY ts DESC LIMIT 1)"
        for table in (*ROWS, "filesystem")
    )
    place = (until.ts, until.stretch_id)
    found = statements.number(f"SELECT MAX(ts) FROM ({' UNION ALL '.join(newest)})", place * (len(ROWS) + 1))
    return until._replace(ts=-1 if found is None else found)


def rows(statements: Statements, kind: str, of: Span) -> Sequence[Row]:
    """In the order of their stamps."""
    return statements.rows(f"{_ROWS[kind]} AND {_WITHIN}", (of.after, of.until, of.stretch.stretch_id))


def counted(statements: Statements, after: Position, until: Position) -> Iterator[tuple[str, str, list[int]]]:
    """Kind and name of each device, and all that was counted after one place and up to another."""
    for kind, columns in _COUNTED.items():
        sums = ", ".join(f"COALESCE(SUM({column}), 0)" for column in columns.split(", "))
        for name, *found in statements.rows(
            f"SELECT name, {sums} {_OF_DEVICES.format(kind, kind)} "
            "AND (stretch_id, ts) > (?, ?) AND (stretch_id, ts) <= (?, ?) GROUP BY name",
            (*after, *until),
        ):
            yield kind, name, found
