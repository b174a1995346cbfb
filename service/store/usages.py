"""Who used the host in a window, by name or by service: captures, hours and days added up, and over time.

Whole days come from days, whole hours from hours, as does what is older than the captures; the edges of a window come
from captures.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Literal, NamedTuple

import msgspec

from service.clock import DAY, HOUR
from service.store.schema import MIDDLE_MS
from service.store.statements import Statements

By = Literal["name", "service"]
Key = Literal["cpu", "memory"]
Grain = Literal["capture", "hour", "day"]
# Process ids of a name: those of a few dozen workers.
MOST_PIDS = 20
# No capture that counts covers more: far more than the longest interval between two, an hour.
_SLACK_SECONDS = 2 * HOUR
_GROUP_SECONDS = 60 * DAY


@dataclass(frozen=True, slots=True)
class UserUsage:
    """What the processes of one name, or one service, used in a window: CPU seconds in all, of that what ended children
    used, and the most memory and processes at one moment. None where that is not known of it."""

    name: str
    pids: list[int]
    cpu_seconds: float
    memory_bytes: int | None
    process_count: int | None = None
    children_cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Who used the host in a window. `cpu_percent`: the host's own figure over the captures, None where unknown."""

    covered_seconds: float
    capacity_seconds: float
    cpu_percent: float | None
    users: list[UserUsage]


@dataclass(frozen=True, slots=True)
class UsageBucket:
    """One bucket of a course. `busy_seconds`: what the CPUs gave in `known_seconds` of their capacity. `memory_bytes`:
    the average of all processes; None where unknown. `amounts`: CPU milliseconds, or kB of memory x milliseconds, of
    all users, then of each that is listed."""

    covered_seconds: float
    capacity_seconds: float
    known_seconds: float
    busy_seconds: float
    memory_bytes: float | None
    amounts: list[float]


@dataclass(frozen=True, slots=True)
class Part:
    """The part start <= t < end of a window, to be read from one grain: captures, hours or days."""

    start: int
    end: int
    grain: Grain

    @property
    def bounds(self) -> dict[str, int]:
        """The parameters of the statements."""
        return {"start": self.start, "end": self.end, "start_ms": self.start * 1000, "end_ms": self.end * 1000}


@dataclass(frozen=True, slots=True)
class _Users:
    """Where the usage by one kind of user is kept. `table`: with which the names of the tables of hours and days begin.
    `captures`: the table of captures. `key`: the user's number. `words`: the table of the names."""

    table: str
    captures: str
    key: str
    words: str
    has_processes: bool


_USERS: Mapping[By, _Users] = {
    "name": _Users("process", "process", "name_id", "process_name", has_processes=True),
    "service": _Users("service", "service_usage", "service_id", "service", has_processes=False),
}

# -- statements

# By their key first (ts), then exactly by the middle.
WHERE = f"ts >= :start AND ts <= :end + {_SLACK_SECONDS} AND {MIDDLE_MS} >= :start_ms AND {MIDDLE_MS} < :end_ms"
_WITHIN = "ts >= :start AND ts < :end"
# What a capture of before revision 0004 holds is processes, of which there may be several of one name.
_IS_WHOLE = "process_count IS NOT NULL"
_IS_OLD = "(SELECT ts, stretch_id FROM capture WHERE process_count IS NULL AND " + WHERE + ")"


def captures_of(columns: str) -> str:
    """A subquery of the captures of a window. CROSS JOIN after it keeps SQLite from beginning with a larger table."""
    return f"(SELECT {columns} FROM capture WHERE {WHERE})"


_CAPTURE_TOTALS = (
    "SUM(covered_ms), SUM(capacity_ms), COALESCE(SUM(capacity_ms) FILTER (WHERE busy_ms IS NOT NULL), 0), "
    "COALESCE(SUM(busy_ms), 0), "
    "SUM(1.0 * memory_kb * covered_ms) / SUM(covered_ms) FILTER (WHERE memory_kb IS NOT NULL)"
)
_REDUCED_TOTALS = (
    "SUM(covered_ms), SUM(capacity_ms), COALESCE(SUM(known_ms), 0), COALESCE(SUM(busy_ms), 0), "
    "SUM(1.0 * memory_kb * covered_ms) / SUM(covered_ms) FILTER (WHERE memory_kb IS NOT NULL)"
)


def totals_sql(part: Part, bucket: str = "0") -> str:
    """(bucket, covered, capacity, known and busy ms, average kB of memory) of the captures in a part, by bucket."""
    if part.grain == "capture":
        return f"SELECT {bucket} AS bucket, {_CAPTURE_TOTALS} FROM capture WHERE {WHERE} GROUP BY bucket"
    return f"SELECT {bucket} AS bucket, {_REDUCED_TOTALS} FROM capture_{part.grain} WHERE {_WITHIN} GROUP BY bucket"


def users_sql(by: By, part: Part) -> Iterator[str]:
    """(number, CPU ms, most kB, most processes, CPU ms of children) of each user in a part; from captures of before
    revision 0004 in a statement of its own."""
    users = _USERS[by]
    more = "MAX({0}.process_count), SUM(children_ms)" if users.has_processes else "NULL, NULL"
    what = f"SELECT {users.key}, SUM(cpu_ms), MAX({{0}}.memory_kb), {more}"
    if part.grain != "capture":
        table = f"{users.table}_{part.grain}"
        yield f"{what.format(table)} FROM {table} WHERE {_WITHIN} GROUP BY {users.key}"
        return
    table = users.captures
    rows = f"{captures_of('ts, stretch_id')} CROSS JOIN {table} USING (ts, stretch_id)"
    is_whole = f" WHERE {_IS_WHOLE}" if users.has_processes else ""
    yield f"{what.format(table)} FROM {rows}{is_whole} GROUP BY {users.key}"
    if users.has_processes:
        yield (
            "SELECT name_id, SUM(cpu_ms), MAX(memory_kb), NULL, NULL FROM (SELECT name_id, SUM(cpu_ms) AS cpu_ms, "
            f"SUM(memory_kb) AS memory_kb FROM {_IS_OLD} CROSS JOIN process USING (ts, stretch_id) "
            "GROUP BY ts, stretch_id, name_id) GROUP BY name_id"
        )


def _course_sql(by: By, part: Part, key: Key, bucket: str, listed: int) -> str:
    """(bucket, CPU ms or kB x ms of all, of the first listed user, the second, ...) in a part; `:user_0` and so on are
    their numbers.

    Row by row of the key first, which needs no sorting: that of all rows would cost three times as much.
    """
    users = _USERS[by]
    is_capture = part.grain == "capture"
    table = users.captures if is_capture else f"{users.table}_{part.grain}"
    memory = f"{table}.memory_kb" if is_capture else f"COALESCE(average_kb, {table}.memory_kb)"
    amount = "cpu_ms" if key == "cpu" else f"1.0 * {memory}"
    columns = [f"SUM({amount}) AS all_users"]
    columns += [f"SUM({amount}) FILTER (WHERE {users.key} = :user_{n}) AS user_{n}" for n in range(listed)]
    if is_capture:
        kept = "WHERE process.process_count IS NOT NULL OR c.process_count IS NULL" if users.has_processes else ""
        rows = (
            f"{captures_of('ts, stretch_id, covered_ms, process_count')} AS c "
            f"CROSS JOIN {table} USING (ts, stretch_id) {kept} GROUP BY ts, stretch_id"
        )
    else:
        rows = f"capture_{part.grain} CROSS JOIN {table} USING (ts) WHERE {_WITHIN} GROUP BY ts"
    weight = "1" if key == "cpu" else "covered_ms"
    sums = ", ".join(f"SUM({name} * {weight})" for name in ("all_users", *(f"user_{n}" for n in range(listed))))
    return (
        f"SELECT {bucket} AS bucket, {sums} FROM (SELECT ts, covered_ms, {', '.join(columns)} FROM {rows}) "
        "GROUP BY bucket"
    )


# -- in a window


class Used(NamedTuple):
    """What one user used, in the units of the tables; None where that is not known."""

    cpu_ms: int = 0
    memory_kb: int | None = None
    process_count: int | None = None
    children_ms: int | None = None

    def amount(self, key: Key) -> int:
        return self.cpu_ms if key == "cpu" else self.memory_kb or 0

    def and_also(self, other: Sequence[int | None]) -> "Used":
        """CPU time and that of children add up; of memory and processes the most counts."""
        return Used(
            cpu_ms=self.cpu_ms + (other[0] or 0),
            memory_kb=_known(max, self.memory_kb, other[1]),
            process_count=_known(max, self.process_count, other[2]),
            children_ms=_known(add, self.children_ms, other[3]),
        )


def _known(join: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return join(one, other)


def usage(statements: Statements, start: int, end: int, key: Key, count: int, by: By = "name") -> Usage:
    """Who used the host during start <= t < end: the `count` users with most of `key`, most first."""
    parts = list(plan(statements, start, end))
    covered = capacity = known = busy = 0
    found: dict[int, Used] = {}
    for part in parts:
        for _, covered_ms, capacity_ms, known_ms, busy_ms, _ in statements.rows(totals_sql(part), part.bounds):
            covered, capacity = covered + covered_ms, capacity + capacity_ms
            known, busy = known + known_ms, busy + busy_ms
        _add_users(statements, by, part, found)
    return Usage(
        covered_seconds=covered / 1000,
        capacity_seconds=capacity / 1000,
        cpu_percent=100 * busy / known if known else None,
        users=list(_users(statements, by, parts, {number: found[number] for number in _order(found, key, count)})),
    )


def _order(found: Mapping[int, Used], key: Key, count: int) -> list[int]:
    """Those with most of it, most first."""
    return sorted(found, key=lambda number: (-found[number].amount(key), number))[:count]


def _add_users(statements: Statements, by: By, part: Part, found: dict[int, Used]) -> None:
    """Hours by parts of some weeks: to group all of five years at once SQLite would sort them, in 30 MB of memory."""
    step = _GROUP_SECONDS if part.grain == "hour" else part.end - part.start
    for start in range(part.start, part.end, max(1, step)):
        piece = Part(start, min(start + step, part.end), part.grain)
        for statement in users_sql(by, piece):
            for number, *used in statements.rows(statement, piece.bounds):
                found[number] = found.get(number, Used()).and_also(used)


def captures_at(statements: Statements, start: int, end: int) -> tuple[int, int] | None:
    """The span start < t <= end of the captures that hold most of the time start < t <= end, or its middle.

    Stamps are whole seconds: a capture that holds no more than one of a longer time only touches it.
    """
    row = statements.row(
        "SELECT MIN(ts - covered_ms / 1000), MAX(ts) FROM capture WHERE ts >= :start AND ts <= :end + :slack AND ("
        "(ts - covered_ms / 1000 < :middle AND ts >= :middle) OR "
        "MIN(ts, :end) - MAX(ts - covered_ms / 1000, :start) > 1)",
        {"start": start, "end": end, "middle": -(-(start + end) // 2), "slack": _SLACK_SECONDS},
    )
    return None if row is None or row[1] is None else (row[0], row[1])


def _users(
    statements: Statements,
    by: By,
    parts: Sequence[Part],
    top: Mapping[int, Used],
) -> Iterator[UserUsage]:
    """The users in the order in which they come; names each with their processes, those of the newest part first."""
    pids: dict[int, list[int]] = {}
    if by == "name":
        for part in reversed(parts):
            for number, new in pids_in(statements, part, top).items():
                pids[number] = list(dict.fromkeys([*pids.get(number, []), *new]))[:MOST_PIDS]
    names = words(statements, by, top)
    for number, (cpu, memory, processes, children) in top.items():
        yield UserUsage(
            name=names[number],
            pids=pids.get(number, []),
            cpu_seconds=cpu / 1000,
            memory_bytes=None if memory is None else memory * 1024,
            process_count=processes,
            children_cpu_seconds=None if children is None else children / 1000,
        )


def words(statements: Statements, by: By, numbers: Iterable[int]) -> dict[int, str]:
    """The names of users; one that is not known is `?`."""
    users, wanted = _USERS[by], list(numbers)
    rows = statements.rows(
        f"SELECT {users.key}, name FROM {users.words} WHERE {users.key} IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(wanted).decode(),),
    )
    return {**dict.fromkeys(wanted, "?"), **{row[0]: row[1] for row in rows}}


def pids_in(statements: Statements, part: Part, names: Iterable[int]) -> dict[int, list[int]]:
    """Of each name the processes that used most CPU, then most memory; from its newest hours where captures are not
    asked, and none from days, whose hours are long ago."""
    if part.grain == "capture":
        return _pids_of_captures(statements, part, names)
    if part.grain == "hour":
        return _pids_of_hours(statements, part, names)
    return {}


def _pids_of_captures(statements: Statements, part: Part, names: Iterable[int]) -> dict[int, list[int]]:
    wanted = set(names)
    pids: dict[int, list[int]] = {}
    query = (
        f"SELECT name_id, pid FROM {captures_of('ts, stretch_id')} CROSS JOIN process USING (ts, stretch_id) "
        "WHERE pid > 0 GROUP BY name_id, pid ORDER BY SUM(cpu_ms) DESC, MAX(memory_kb) DESC"
    )
    for name_id, pid in statements.rows(query, part.bounds):
        if name_id in wanted and len(of_name := pids.setdefault(name_id, [])) < MOST_PIDS:
            of_name.append(pid)
    return pids


def _pids_of_hours(statements: Statements, part: Part, names: Iterable[int]) -> dict[int, list[int]]:
    pids: dict[int, list[int]] = {}
    query = (
        "SELECT pids FROM process_hour WHERE name_id = :name AND ts >= :start AND ts < :end ORDER BY ts DESC LIMIT 24"
    )
    for name_id in names:
        rows = statements.rows(query, {**part.bounds, "name": name_id})
        pids[name_id] = [pid for (text,) in rows for pid in msgspec.json.decode(text)]
    return pids


def shares_sql(start: int, end: int, by: By = "name") -> str:
    """What gives the shares of a window at a prompt, from the public views; exact while its captures are kept."""
    within = middle_within(str(start), str(end))
    view = "process_names" if by == "name" else "services"
    return (
        f"SELECT {by}, SUM(cpu_percent * covered_seconds) / (\n"
        f"  SELECT SUM(covered_seconds) FROM captures WHERE {within}) AS cpu_percent\n"
        f"FROM {view} WHERE {within}\n"
        f"GROUP BY {by} ORDER BY cpu_percent DESC"
    )


def middle_within(start: str, end: str) -> str:
    """In SQL, on the public views: captures whose middle lies in start <= t < end."""
    middle = "ts - covered_seconds / 2"
    return f"ts >= {start} AND ts < {end} + {_SLACK_SECONDS} AND {middle} >= {start} AND {middle} < {end}"


# -- over time


def spacing(statements: Statements, start: int, end: int) -> int | None:
    """How many seconds apart the newest captures of a window are, or how long the one is that it lies within; None
    where those at its start are gone."""
    if start < progress(statements)[2]:
        return None
    newest = f"SELECT covered_ms FROM capture WHERE {_WITHIN} ORDER BY ts DESC LIMIT 20"
    widest = statements.number(f"SELECT MAX(covered_ms) FROM ({newest})", {"start": start, "end": end})
    if widest is None:
        widest = statements.number("SELECT covered_ms FROM capture WHERE ts >= :end ORDER BY ts LIMIT 1", {"end": end})
    return max(1, min(HOUR, round((widest or 1000) / 1000)))


def course(
    statements: Statements, start: int, step: int, count: int, by: By, key: Key, grain: Grain, top: int
) -> tuple[list[str], dict[int, UsageBucket]]:
    """Who used the host in each of `count` buckets of `step` seconds from `start` on; only those with a capture. No row
    that is read is coarser than `grain`.

    :returns: the `top` users with most in all, most first, and the buckets by their number.
    """
    end = start + step * count
    listed = _largest(statements, start, end, key, top, by)
    numbers = {f"user_{n}": number for n, number in enumerate(listed)}
    buckets: dict[int, UsageBucket] = {}
    for part in plan(statements, start, end, grain):
        place = f"{MIDDLE_MS} - {start * 1000}" if part.grain == "capture" else f"(ts - {start}) * 1000"
        bucket = f"({place}) / {step * 1000}"
        for number, *totals in statements.rows(totals_sql(part, bucket), part.bounds):
            if 0 <= number < count:
                buckets[number] = _added(buckets.get(number), totals, len(listed))
        query = _course_sql(by, part, key, bucket, len(listed))
        for number, *amounts in statements.rows(query, {**part.bounds, **numbers}):
            if number in buckets:
                buckets[number].amounts[:] = map(_sum, buckets[number].amounts, amounts)
    names = words(statements, by, listed)
    return [names[number] for number in listed], buckets


def _sum(one: float, other: float | None) -> float:
    return one + (other or 0)


def _largest(statements: Statements, start: int, end: int, key: Key, top: int, by: By) -> list[int]:
    """The numbers of the users with most in a window, most first."""
    found: dict[int, Used] = {}
    for part in plan(statements, start, end):
        _add_users(statements, by, part, found)
    return [number for number in _order(found, key, top) if found[number].amount(key)]


def _added(before: UsageBucket | None, totals: Sequence[int | None], listed: int) -> UsageBucket:
    covered, capacity, known, busy = ((value or 0) / 1000 for value in totals[:4])
    memory = None if totals[4] is None else totals[4] * 1024.0
    if before is None:
        return UsageBucket(covered, capacity, known, busy, memory, [0.0] * (listed + 1))
    if memory is not None and before.memory_bytes is not None:
        whole = covered + before.covered_seconds
        memory = (memory * covered + before.memory_bytes * before.covered_seconds) / whole
    return UsageBucket(
        covered_seconds=before.covered_seconds + covered,
        capacity_seconds=before.capacity_seconds + capacity,
        known_seconds=before.known_seconds + known,
        busy_seconds=before.busy_seconds + busy,
        memory_bytes=before.memory_bytes if memory is None else memory,
        amounts=before.amounts,
    )


# -- which grain


def progress(statements: Statements) -> tuple[int, int, int]:
    """`hours_until`, `days_until` and `captures_from` (see the table `use_progress`)."""
    ((hours, days, captures_from),) = statements.rows("SELECT hours_until, days_until, captures_from FROM use_progress")
    return hours, days, captures_from


def plan(statements: Statements, start: int, end: int, coarsest: Grain = "day") -> Iterator[Part]:
    """The parts that together cover the window once, in time order.

    Hours stand in where captures are gone: they belong to the window in which they begin.
    """
    hours_until, days_until, captures_from = progress(statements)
    first = -(-start // HOUR) * HOUR
    last = max(first, min(end, hours_until) // HOUR * HOUR if end > captures_from else end)
    if coarsest == "capture" or last <= first:
        yield Part(start, end, "capture")
        return
    first_day = -(-first // DAY) * DAY
    last_day = min(last, days_until) // DAY * DAY
    if coarsest == "hour" or last_day <= first_day:
        first_day = last_day = last
    yield from _some(start, first, "capture")
    yield from _some(first, first_day, "hour")
    yield from _some(first_day, last_day, "day")
    yield from _some(last_day, last, "hour")
    yield from _some(last, end, "capture")


def _some(start: int, end: int, grain: Grain) -> Iterator[Part]:
    if start < end:
        yield Part(start, end, grain)
