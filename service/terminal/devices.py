"""What the verb `devices` draws: each device with its newest figures, or one of them over time."""

from typing import Any

from service.answers.devices import Device, Devices
from service.answers.moments import Write
from service.answers.series import Series, SeriesColumns
from service.terminal.layout import Block, Column, Curve, Line, Part, Table
from service.terminal.words import amount, figure, level, size

# What of each kind stands in the list; the rest is in the JSON.
_SHOWN = {
    "disk": (("read_bytes", "read"), ("written_bytes", "written"), ("busy_percent", "busy"), ("wait_ms", "wait")),
    "interface": (("received_bytes", "in"), ("sent_bytes", "out"), ("errors", "errors"), ("drops", "drops")),
    "sensor": (("celsius", ""),),
    "battery": (("percent", ""),),
    "mount": (("used_percent", "used"), ("available_bytes", "free")),
    "service": (("cpu_percent", "CPU"), ("memory_bytes", "memory")),
}
_UNITS = {
    **dict.fromkeys(("read_bytes", "written_bytes", "received_bytes", "sent_bytes"), "bytes per second"),
    **dict.fromkeys(("busy_percent", "percent", "used_percent", "cpu_percent"), "percent"),
    **dict.fromkeys(("available_bytes", "memory_bytes"), "bytes"),
    **dict.fromkeys(("errors", "drops"), "errors per second"),
    "wait_ms": "milliseconds",
    "celsius": "degrees Celsius",
}


def devices(answer: Devices, write: Write) -> list[Block]:
    if not answer.devices:
        return [Line(["no device was recorded"])]
    columns = [Column("device", least=20, most=48), Column("seen", least=10, wraps=True), Column("state")]
    columns.append(Column("figures", least=24, wraps=True))
    blocks: list[Block] = [Table(columns, [_row(one, write) for one in answer.devices])]
    if answer.left_out:
        blocks.append(Line([Part(f"and {answer.left_out:,} more", "dim")]))
    return blocks


def _row(one: Device, write: Write) -> list[Any]:
    seen = Part("not lately", "dim") if one.time is None else write(one.time)
    figures = [
        f"{label} {_amount(one.figures[name], _UNITS[name])}".strip()
        for name, label in _SHOWN[one.kind]
        if one.figures.get(name) is not None
    ]
    return [one.device, seen, one.state or "", ", ".join(figures)]


def device(answer: Series, name: str, write: Write) -> list[Block]:
    """One device over time."""
    columns = [
        *(Column("metric", least=18), Column("average", right=True), Column("max", right=True)),
        Column("course", least=6, most=60, picture=True),
    ]
    rows = [_course(metric, found) for metric, found in answer.series.items()]
    return [Line([f"{name}, {write(answer.start)} to {write(answer.end)}"]), Line(), Table(columns, rows)]


def _course(metric: str, found: SeriesColumns) -> list[Any]:
    known = [value for value in found.average if value is not None]
    average = sum(known) / len(known) if known else None
    highest = max((value for value in (*found.maximum, *known) if value is not None), default=None)
    curve = Curve(found.average, 0, 100, level) if found.unit == "percent" else Curve(found.average)
    return [metric, _amount(average, found.unit), _amount(highest, found.unit), curve]


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit in ("bytes", "bytes per second", "percent", "inodes"):
        return size(value) if unit == "bytes" else amount(value, unit)
    words = {"milliseconds": " ms", "degrees Celsius": " °C"}
    return f"{figure(value)}{words.get(unit, '/s')}"
