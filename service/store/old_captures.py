"""Old captures: those of five minutes become one, so that a month of them takes no more room than a week did.

Sums stay what they were. Of memory, and of the numbers of processes and of open files, the greatest is kept; of single
processes those that used most.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

from service.clock import HOUR
from service.store.statements import Statements

MERGED_SECONDS = 300
_CAPTURE = (
    *("ts", "stretch_id", "covered_ms", "capacity_ms", "busy_ms", "process_count", "memory_kb"),
    *("open_files", "open_files_limit"),
)
_PROCESS = ("pid", "name_id", "cpu_ms", "memory_kb", "process_count", "children_ms", "service_id")
_SERVICE = ("service_id", "cpu_ms", "memory_kb", "read_kb", "written_kb", "oom_kills")


class _Capture(NamedTuple):
    ts: int
    stretch_id: int
    covered_ms: int
    capacity_ms: int
    busy_ms: int | None
    process_count: int | None
    memory_kb: int | None
    open_files: int | None
    open_files_limit: int | None


class _Process(NamedTuple):
    pid: int
    name_id: int
    cpu_ms: int
    memory_kb: int
    process_count: int | None
    children_ms: int | None
    service_id: int | None


class _Service(NamedTuple):
    service_id: int
    cpu_ms: int
    memory_kb: int | None
    read_kb: int | None
    written_kb: int | None
    oom_kills: int | None


def merge(statements: Statements, before: int, count: int) -> bool:
    """One bounded step: merge the captures of the next hour that is reduced and ends before a second.

    `count`: how many single processes are kept by CPU, and by memory.

    :returns: whether there is more to do.
    """
    ((merged_until, hours_until),) = statements.rows("SELECT merged_until, hours_until FROM use_progress")
    limit = min(before, hours_until) // HOUR * HOUR
    first = statements.number("SELECT MIN(ts) FROM capture WHERE ts > ?", (merged_until,))
    if first is None or first > limit:
        return False
    start = (first - 1) // HOUR * HOUR
    for captures in _slots(statements, start):
        _merge_slot(statements, captures, count)
    statements.run("UPDATE use_progress SET merged_until = ?", (start + HOUR,))
    return bool(start + HOUR < limit)


def _slots(statements: Statements, start: int) -> Iterator[list[_Capture]]:
    """The captures of one hour that become one. Those of before revision 0004 hold no names, and stay as they are."""
    rows = statements.rows(
        f"SELECT {', '.join(_CAPTURE)} FROM capture WHERE ts > ? AND ts <= ? AND process_count IS NOT NULL ORDER BY ts",
        (start, start + HOUR),
    )
    slots: dict[tuple[int, int], list[_Capture]] = {}
    for capture in map(_Capture._make, rows):
        middle = capture.ts - capture.covered_ms / 2000
        slots.setdefault((capture.stretch_id, int(middle // MERGED_SECONDS)), []).append(capture)
    yield from (captures for captures in slots.values() if len(captures) > 1)


def _merge_slot(statements: Statements, captures: Sequence[_Capture], count: int) -> None:
    key = (captures[0].ts, captures[-1].ts, captures[0].stretch_id)
    within = "WHERE ts >= ? AND ts <= ? AND stretch_id = ?"
    processes = map(_Process._make, statements.rows(f"SELECT {', '.join(_PROCESS)} FROM process {within}", key))
    services = map(_Service._make, statements.rows(f"SELECT {', '.join(_SERVICE)} FROM service_usage {within}", key))
    kept = [*_merged_processes(list(processes), count)]
    used = [*_merged_services(services)]
    for table in ("capture", "process", "service_usage"):
        statements.run(f"DELETE FROM {table} {within}", key)
    _insert(statements, "capture", [_merged_capture(captures)])
    place = {"ts": key[1], "stretch_id": key[2]}
    _insert(statements, "process", [{**place, **row._asdict()} for row in kept])
    _insert(statements, "service_usage", [{**place, **row._asdict()} for row in used])


def _insert(statements: Statements, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = list(rows[0])
        marks = ", ".join(f":{name}" for name in names)
        statements.run_each(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)


def _merged_capture(captures: Sequence[_Capture]) -> dict[str, Any]:
    covered = sum(capture.covered_ms for capture in captures)
    busy = [capture.busy_ms for capture in captures if capture.busy_ms is not None]
    merged = _Capture(
        ts=captures[-1].ts,
        stretch_id=captures[-1].stretch_id,
        covered_ms=covered,
        capacity_ms=sum(capture.capacity_ms for capture in captures),
        busy_ms=sum(busy) if len(busy) == len(captures) else None,
        process_count=max(capture.process_count or 0 for capture in captures),
        memory_kb=round(sum((capture.memory_kb or 0) * capture.covered_ms for capture in captures) / covered),
        open_files=max((one.open_files for one in captures if one.open_files is not None), default=None),
        open_files_limit=captures[-1].open_files_limit,
    )
    return merged._asdict()


def _merged_processes(rows: Sequence[_Process], count: int) -> Iterator[_Process]:
    """The rows of names, and of single processes of names that have several; a name has a row in each capture that
    keeps it, under the number of its process where it had only one."""
    singles = {pid: _one(of_one) for pid, of_one in _grouped((row.pid, row) for row in rows if row.pid > 0).items()}
    listed: list[_Process] = []
    for name_id, of_name in _grouped((row.name_id, row) for row in rows if row.process_count is not None).items():
        pids = {row.pid for row in rows if row.name_id == name_id and row.pid > 0}
        is_alone = len(pids) == 1 and all(row.pid > 0 for row in of_name)
        yield _one(of_name)._replace(pid=pids.pop() if is_alone else -name_id)
        listed += [] if is_alone else [singles[pid] for pid in pids if singles[pid].name_id == name_id]
    kept = {
        *nlargest(count, listed, lambda row: (row.cpu_ms, row.pid)),
        *nlargest(count, listed, lambda row: (row.memory_kb, row.pid)),
    }
    yield from (row._replace(process_count=None) for row in kept)


def _grouped(pairs: Iterable[tuple[int, _Process]]) -> dict[int, list[_Process]]:
    groups: dict[int, list[_Process]] = {}
    for key, row in pairs:
        groups.setdefault(key, []).append(row)
    return groups


def _one(rows: Sequence[_Process]) -> _Process:
    largest = max(rows, key=lambda row: row.cpu_ms)
    return largest._replace(
        cpu_ms=sum(row.cpu_ms for row in rows),
        memory_kb=max(row.memory_kb for row in rows),
        process_count=max((row.process_count for row in rows if row.process_count is not None), default=None),
        children_ms=sum(row.children_ms or 0 for row in rows),
    )


def _merged_services(rows: Iterable[_Service]) -> Iterator[_Service]:
    groups: dict[int, list[_Service]] = {}
    for row in rows:
        groups.setdefault(row.service_id, []).append(row)
    for number, of_one in groups.items():
        yield _Service(
            service_id=number,
            cpu_ms=sum(row.cpu_ms for row in of_one),
            memory_kb=max((row.memory_kb for row in of_one if row.memory_kb is not None), default=None),
            read_kb=_sum(row.read_kb for row in of_one),
            written_kb=_sum(row.written_kb for row in of_one),
            oom_kills=_sum(row.oom_kills for row in of_one),
        )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
