"""The series of one device, mount or service: its own metrics over time, as columns for charts."""

from collections.abc import Sequence

from service.answers.answer import check_window, rounded
from service.answers.moments import Moment
from service.answers.resolution import resolution
from service.answers.series import Series, SeriesColumns
from service.clock import HOUR, MINUTE
from service.errors import BadParameter
from service.store import device_series as stored
from service.store.device_metrics import KINDS, METRICS, DeviceMetric, Kind
from service.store.reader import View

# Of `device`: longer than any name that is stored, each letter of which may be written as four.
MOST_LETTERS = 4096
# An error names so many of those that there are.
_MOST_NAMED = 20


def device_series(view: View, device: str, names: Sequence[str], start: int, end: int, points: int) -> Series:
    """At most `points` evenly spaced buckets that together hold start <= ts < end.

    `device`: KIND:NAME. `names`: of its metrics; all of its kind, if none is named.

    :raises BadParameter: if the window is empty, or the device or one of its metrics unknown.
    """
    check_window(start, end)
    kind, number = _found(view, device)
    metrics = _metrics(kind, names)
    in_rows = view.read(lambda statements: stored.is_in_rows(statements, kind, start, end))
    spacing = MINUTE if kind in ("sensor", "battery", "mount") else view.capture_spacing(start, end) or MINUTE
    step = resolution("series", end - start, start=start, points=points, least=spacing if in_rows else HOUR).step
    start, end = start // step * step, -(-end // step) * step
    count = (end - start) // step
    columns = view.read(
        lambda statements: stored.course(statements, kind, number, metrics, start, step, count, in_rows)
    )
    return Series(
        start=Moment(start),
        end=Moment(end),
        step=step,
        source="captures" if in_rows else "hours",
        ts=list(range(start, end, step)),
        series={metric.name: _columns(metric, column) for metric, column in zip(metrics, columns, strict=True)},
    )


def _columns(metric: DeviceMetric, column: stored.Column) -> SeriesColumns:
    return SeriesColumns(
        unit=metric.unit,
        average=[rounded(value) for value in column.averages],
        minimum=[rounded(value) for value in column.least],
        maximum=[rounded(value) for value in column.most],
    )


def _metrics(kind: Kind, names: Sequence[str]) -> list[DeviceMetric]:
    known = {metric.name: metric for metric in METRICS[kind]}
    for name in names:
        if name not in known:
            raise BadParameter(f"metric = {name!r}: of a {kind} it takes one of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def _found(view: View, device: str) -> tuple[Kind, int]:
    """The kind, and the number in the store."""
    word, colon, name = device.partition(":")
    kind = next((kind for kind in KINDS if kind == word), None)
    if kind is None or not colon:
        raise BadParameter(f"device = {_shown(device)}: takes KIND:NAME, with one of the kinds {', '.join(KINDS)}")
    number = view.read(lambda statements: stored.number_of(statements, kind, name))
    if number is None:
        known = view.read(lambda statements: stored.names(statements, kind, _MOST_NAMED + 1))
        listed = ", ".join(f"{kind}:{_shown(one.name)}" for one in known[:_MOST_NAMED]) or f"no {kind} is recorded"
        more = ", ..." if len(known) > _MOST_NAMED else ""
        raise BadParameter(f"device = {_shown(device)}: takes one that is recorded: {listed}{more}")
    return kind, number


def _shown(name: str) -> str:
    """On one line, and not endless."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name[:80])
