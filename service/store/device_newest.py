"""Which devices, mounts and services there are, each with its newest row."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.clock import HOUR
from service.store import device_series
from service.store.device_metrics import METRICS, SOURCES, Kind
from service.store.device_schema import STATES
from service.store.statements import Statements

# What was not seen for so long before the newest of its kind is not there now.
_PRESENT_SECONDS = 2 * HOUR


@dataclass(frozen=True, slots=True)
class NewestRow:
    """One device: what its newest row says; nothing, where that is older than two hours."""

    name: str
    ts: int | None = None
    covered_seconds: float | None = None
    state: str | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)


def newest(statements: Statements, kind: Kind, most: int) -> tuple[list[NewestRow], int]:
    """Those seen last, at most so many, by name; and how many more there are."""
    known = device_series.names(statements, kind, most)
    total = statements.number(f"SELECT COUNT(*) FROM ({SOURCES[kind].names})") or 0
    end = _newest_ts(statements, kind)
    rows = sorted((_row(statements, kind, one, end) for one in known), key=lambda row: row.name)
    return rows, total - len(known)


def _newest_ts(statements: Statements, kind: Kind) -> int:
    """When the newest row of the kind's table ends; of mounts that of any."""
    tables = {"disk": "disk_usage", "interface": "interface_usage", "mount": "filesystem", "service": "capture"}
    return statements.number(f"SELECT MAX(ts) FROM {tables.get(kind, 'device_value')}") or 0


def _row(statements: Statements, kind: Kind, one: device_series.DeviceName, end: int) -> NewestRow:
    state = "state" if kind in ("interface", "battery") else "NULL"
    each = ", ".join(metric.row for metric in METRICS[kind])
    row = statements.row(
        f"SELECT ts, covered_ms / 1000.0, {state}, {each} FROM ({SOURCES[kind].rows}) ORDER BY ts DESC LIMIT 1",
        {"number": one.number, "start": end - _PRESENT_SECONDS, "end": end},
    )
    if row is None:
        return NewestRow(one.name)
    ts, covered, code, *values = row
    figures = {metric.name: value for metric, value in zip(METRICS[kind], values, strict=True)}
    return NewestRow(one.name, ts, covered, None if code is None else STATES[code], figures)
