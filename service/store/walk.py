"""Steps through the captures: which one holds a moment, the next, the one before, the next in which a name used CPU.

Where captures are gone, the hours that stand in for them are the steps.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from service.clock import HOUR
from service.store.statements import Statements
from service.store.usages import By, progress

# No capture that counts covers more: far more than the longest interval between two, an hour.
_SLACK_SECONDS = 2 * HOUR
# In thousandths of the whole machine: what would be shown as 0.0 % is no use that anyone looks for.
_LEAST_USE = 1
# Names that hold what was typed; more would be no search.
_MOST_NAMES = 200


class Step(NamedTuple):
    """The time of one capture, start < t <= end, or of an hour, start <= t < end."""

    start: int
    end: int
    grain: Literal["capture", "hour"]


class _Users(NamedTuple):
    """By which tables users are found: of their names, of captures, of hours; and by which column."""

    words: str
    captures: str
    hours: str
    key: str


_USERS: dict[By, _Users] = {
    "name": _Users("process_name", "process", "process_hour", "name_id"),
    "service": _Users("service", "service_usage", "service_hour", "service_id"),
}
_NUMBERS = "SELECT value FROM json_each(:numbers)"
_STEP = "SELECT ts - (covered_ms + 999) / 1000, ts FROM capture"


def at(statements: Statements, ts: int) -> Step | None:
    """What holds the second before `ts`; None where neither a capture nor, captures being gone, an hour does."""
    query = f"{_STEP} WHERE ts >= ? AND ts <= ? ORDER BY ts LIMIT 1"
    row = statements.row(query, (ts, ts + _SLACK_SECONDS))
    if row is not None and row[0] < ts:
        return Step(row[0], row[1], "capture")
    hour = ts // HOUR * HOUR
    if hour + HOUR > progress(statements)[2]:
        return None
    return None if statements.row("SELECT 1 FROM capture_hour WHERE ts = ?", (hour,)) is None else _hour(hour)


def after(statements: Statements, ts: int) -> Step | None:
    """The first that ends after `ts`, of hours the first that begins then or later."""
    gone = progress(statements)[2]
    hour = statements.number("SELECT MIN(ts) FROM capture_hour WHERE ts >= ? AND ts < ?", (ts, gone // HOUR * HOUR))
    if hour is not None:
        return _hour(hour)
    row = statements.row(f"{_STEP} WHERE ts > ? ORDER BY ts LIMIT 1", (ts,))
    return None if row is None else Step(row[0], row[1], "capture")


def before(statements: Statements, ts: int) -> Step | None:
    """The last that has ended by `ts`."""
    row = statements.row(f"{_STEP} WHERE ts <= ? ORDER BY ts DESC LIMIT 1", (ts,))
    if row is not None:
        return Step(row[0], row[1], "capture")
    limit = min(ts, progress(statements)[2]) - HOUR
    hour = statements.number("SELECT MAX(ts) FROM capture_hour WHERE ts <= ?", (limit,))
    return None if hour is None else _hour(hour)


def using(statements: Statements, text: str, by: By, ts: int, is_later: bool) -> Step | None:
    """The next after `ts`, or the last that has ended by it, in which a user whose name holds `text` (in whatever case)
    used a thousandth of the machine; of hours, in which it was among those that are kept."""
    users = _USERS[by]
    query = f"SELECT {users.key} FROM {users.words} WHERE instr(lower(name), lower(?)) LIMIT {_MOST_NAMES}"
    numbers = [number for (number,) in statements.rows(query, (text,))]
    if not numbers:
        return None
    steps = (_hour_using, _capture_using) if is_later else (_capture_using, _hour_using)
    found = (step(statements, users, numbers, ts, is_later) for step in steps)
    return next((step for step in found if step is not None), None)


def _capture_using(
    statements: Statements, users: _Users, numbers: Sequence[int], ts: int, is_later: bool
) -> Step | None:
    # Row by row of who used it, so that only what is theirs is looked up; it ends with the first.
    row = statements.row(
        f"SELECT c.ts - (covered_ms + 999) / 1000, c.ts FROM {users.captures} AS u CROSS JOIN capture AS c "
        f"ON c.ts = u.ts AND c.stretch_id = u.stretch_id WHERE {'u.ts > :ts' if is_later else 'u.ts <= :ts'} "
        f"AND u.{users.key} IN ({_NUMBERS}) AND u.cpu_ms * 1000 >= c.capacity_ms * {_LEAST_USE} "
        f"ORDER BY u.ts {'' if is_later else 'DESC'} LIMIT 1",
        {"ts": ts, "numbers": _encoded(numbers)},
    )
    return None if row is None else Step(row[0], row[1], "capture")


def _hour_using(statements: Statements, users: _Users, numbers: Sequence[int], ts: int, is_later: bool) -> Step | None:
    gone = progress(statements)[2] // HOUR * HOUR
    hour = statements.number(
        f"SELECT {'MIN' if is_later else 'MAX'}(ts) FROM {users.hours} "
        f"WHERE {users.key} IN ({_NUMBERS}) AND cpu_ms > 0 AND ts >= :first AND ts < :end",
        {
            "numbers": _encoded(numbers),
            "first": ts if is_later else 0,
            "end": gone if is_later else min(gone, ts - HOUR + 1),
        },
    )
    return None if hour is None else _hour(hour)


def _encoded(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()


def _hour(ts: int) -> Step:
    return Step(ts, ts + HOUR, "hour")
