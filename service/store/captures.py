"""Who used the host: captures of its processes and services as rows.

A capture belongs to the hour, or window, in which its middle lies: one that ends at a whole hour belongs to the hour
before. What is asked of them is in `usages`, their reduction in `usage_rollups`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from service.clock import DAY, HOUR
from service.records import AllProcesses, Capture, ServiceUsage
from service.store.statements import Statements

_PROCESS = (
    "INSERT INTO process (ts, stretch_id, pid, name_id, cpu_ms, memory_kb, process_count, children_ms, service_id) "
    "VALUES (:ts, :stretch, :pid, :name, :cpu, :memory, :count, :children, :service) ON CONFLICT DO NOTHING"
)
_SERVICE = (
    "INSERT INTO service_usage (ts, stretch_id, service_id, cpu_ms, memory_kb, read_kb, written_kb, oom_kills) "
    "VALUES (:ts, :stretch, :service, :cpu, :memory, :read, :written, :kills) ON CONFLICT DO NOTHING"
)


def insert(statements: Statements, capture: Capture, stretch_id: int) -> None:
    """Store one capture; the same again changes nothing."""
    key = {"ts": capture.ts, "stretch": stretch_id}
    statements.run(
        "INSERT INTO capture (ts, stretch_id, covered_ms, capacity_ms, busy_ms, process_count, memory_kb, "
        "open_files, open_files_limit) VALUES (:ts, :stretch, :covered, :capacity, :busy, :count, :memory, :files, "
        ":most_files) ON CONFLICT DO NOTHING",
        {
            **key,
            "covered": max(1, _ms(capture.covered_seconds)),
            "capacity": max(1, _ms(capture.capacity_seconds)),
            "busy": None if capture.busy_seconds is None else _ms(capture.busy_seconds),
            "count": capture.processes.process_count,
            "memory": capture.processes.memory_bytes // 1024,
            "files": capture.open_files and capture.open_files.opened,
            "most_files": capture.open_files and capture.open_files.limit,
        },
    )
    services = _service_ids(statements, capture)
    statements.run_each(_PROCESS, [{**key, **row} for row in _process_rows(statements, capture, services)])
    statements.run_each(_SERVICE, [{**key, **_service_row(usage, services)} for usage in capture.services])
    # The clock was set back into an hour, or day, that is reduced already: reduce it again, by the capture's middle.
    first = int(capture.ts - capture.covered_seconds / 2)
    statements.run(
        "UPDATE use_progress SET hours_until = MIN(hours_until, ?), days_until = MIN(days_until, ?) "
        "WHERE hours_until > ?",
        (first // HOUR * HOUR, first // DAY * DAY, first),
    )


def _process_rows(statements: Statements, capture: Capture, services: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """The names, and the single processes of those that have several."""
    processes: AllProcesses = capture.processes
    names = _ids(statements, "process_name", "name_id", {usage.name: {} for usage in processes.names}, capture.ts)
    alone = {usage.name for usage in processes.names if usage.process_count == 1}
    for usage in processes.names:
        name_id, service = names[usage.name], services.get(usage.service.name if usage.service else "")
        is_alone = usage.process_count == 1
        yield _row(usage, usage.pid if is_alone else -name_id, name_id, usage.process_count, service)
    for single in processes.processes:
        if single.name not in alone:
            yield _row(single, single.pid, names[single.name], None, None)


def _row(usage: Any, pid: int, name_id: int, count: int | None, service_id: int | None) -> dict[str, Any]:
    """Of a `NameUsage` or a `ProcessUsage`."""
    return {
        "pid": pid,
        "name": name_id,
        "cpu": _ms(usage.cpu_seconds),
        "memory": usage.memory_bytes // 1024,
        "count": count,
        "children": _ms(usage.children_cpu_seconds),
        "service": service_id,
    }


def _service_ids(statements: Statements, capture: Capture) -> dict[str, int]:
    """Of those that used something, and of those in which the names run."""
    kinds = {usage.service.name: {"kind": usage.service.kind} for usage in capture.processes.names if usage.service}
    kinds |= {usage.name: {"kind": usage.kind} for usage in capture.services}
    return _ids(statements, "service", "service_id", kinds, capture.ts)


def _service_row(usage: ServiceUsage, services: Mapping[str, int]) -> dict[str, Any]:
    return {
        "service": services[usage.name],
        "cpu": _ms(usage.cpu_seconds),
        "memory": _kb(usage.memory_bytes),
        "read": _kb(usage.read_bytes),
        "written": _kb(usage.written_bytes),
        "kills": usage.oom_kills,
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _kb(value: int | None) -> int | None:
    return None if value is None else value // 1024


def _ids(
    statements: Statements, table: str, key: str, wanted: Mapping[str, Mapping[str, str]], ts: int
) -> dict[str, int]:
    """The numbers of the names in a table, new ones where they have none; that they still occur is noted once a day.

    `wanted`: name -> what a new row holds beside it.
    """
    if not wanted:
        return {}
    found = statements.rows(
        f"SELECT name, {key}, last_ts FROM {table} WHERE name IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(list(wanted)).decode(),),
    )
    numbers = {name: int(number) for name, number, _ in found}
    stale = [(ts, number) for _, number, last in found if ts >= last + DAY]
    statements.run_each(f"UPDATE {table} SET last_ts = ? WHERE {key} = ?", stale)
    for name, more in wanted.items():
        if name not in numbers:
            columns = {"name": name, **more, "last_ts": ts}
            marks = ", ".join(f":{column}" for column in columns)
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) RETURNING {key}"
            ((number,),) = statements.rows(insert, columns)
            numbers[name] = int(number)
    return numbers


def oldest(statements: Statements) -> int | None:
    """The stamp of the first capture."""
    return statements.number("SELECT MIN(ts) FROM capture")
