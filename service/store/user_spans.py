"""What some users of the host used in each of many spans of one length: by the hour, or by captures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from service.clock import HOUR
from service.store.schema import MIDDLE_MS
from service.store.statements import Statements
from service.store.usages import WHERE, By, Part, captures_of


@dataclass(frozen=True, slots=True)
class UserSpans:
    """By the number of the span, of those in which there is a capture: the share of all CPUs in percent, and the most
    memory in bytes at one moment, None where that is not known. In a span in which a user is not among those that are
    kept it used nothing."""

    cpu_percent: Mapping[int, float]
    memory_bytes: Mapping[int, int | None]


# table of hours, table of captures, number, table of names
_TABLES: Mapping[By, tuple[str, str, str, str]] = {
    "name": ("process_hour", "process", "name_id", "process_name"),
    "service": ("service_hour", "service_usage", "service_id", "service"),
}


def user_spans(
    statements: Statements, by: By, names: Sequence[str], start: int, step: int, count: int
) -> Mapping[str, UserSpans]:
    """Of each name its spans; span n is start + n*step <= t < start + (n+1)*step. From hours where the step is whole
    hours, else from captures."""
    part = Part(start, start + step * count, "hour" if step % HOUR == 0 else "capture")
    capacity = {row[0]: row[1] for row in statements.rows(_capacity_sql(part, step), part.bounds)}
    rows = statements.rows(_users_sql(by, part, step), {**part.bounds, "names": msgspec.json.encode(names).decode()})
    found: dict[str, dict[int, tuple[int, int | None]]] = {name: {} for name in names}
    for name, number, cpu_ms, memory_kb in rows:
        found[name][number] = (cpu_ms, memory_kb)
    return {name: _spans(of_name, capacity) for name, of_name in found.items()}


def _spans(used: Mapping[int, tuple[int, int | None]], capacity: Mapping[int, int]) -> UserSpans:
    amounts = {number: used.get(number, (0, 0)) for number in capacity}
    return UserSpans(
        cpu_percent={number: 100 * cpu / capacity[number] for number, (cpu, _) in amounts.items()},
        memory_bytes={number: None if kb is None else kb * 1024 for number, (_, kb) in amounts.items()},
    )


def _span(part: Part, step: int) -> str:
    """The number of a row's span: a capture lies where its middle does."""
    if part.grain == "hour":
        return f"(ts - {part.start}) / {step}"
    return f"({MIDDLE_MS} - {part.start * 1000}) / {step * 1000}"


def _capacity_sql(part: Part, step: int) -> str:
    if part.grain == "hour":
        where, table = "ts >= :start AND ts < :end", "capture_hour"
    else:
        where, table = WHERE, "capture"
    return f"SELECT {_span(part, step)} AS span, SUM(capacity_ms) FROM {table} WHERE {where} GROUP BY span"


def _users_sql(by: By, part: Part, step: int) -> str:
    hours, captures, key, words = _TABLES[by]
    chosen = f"(SELECT {key}, name FROM {words} WHERE name IN (SELECT value FROM json_each(:names)))"
    if part.grain == "hour":
        rows = f"{chosen} AS chosen CROSS JOIN {hours} AS used USING ({key}) WHERE used.ts >= :start AND used.ts < :end"
    else:
        whole = "AND used.process_count IS NOT NULL" if by == "name" else ""
        rows = (
            f"{captures_of('ts, stretch_id, covered_ms')} CROSS JOIN {captures} AS used USING (ts, stretch_id) "
            f"CROSS JOIN {chosen} USING ({key}) WHERE 1 {whole}"
        )
    return f"SELECT name, {_span(part, step)} AS span, SUM(cpu_ms), MAX(used.memory_kb) FROM {rows} GROUP BY name, span"
