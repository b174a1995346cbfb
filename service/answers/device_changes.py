"""Which disks, interfaces and sensors moved beyond their own usual variation; a part of `changes`."""

from collections.abc import Iterator, Sequence
from functools import partial

from service.analysis.changes import LEAST_SCORE, score
from service.answers.moved import LEAST_COVERAGE, Moved
from service.answers.spans import Spans
from service.clock import HOUR
from service.store import change_sql
from service.store import device_series as stored
from service.store.device_metrics import METRICS, DeviceMetric, Kind
from service.store.reader import View

# The least changes that are looked at, in the unit of the metric: those of the host where it has the same one; an error
# or a lost packet a second; five degrees are what a fan is turned up for.
LEAST: dict[Kind, dict[str, float]] = {
    "disk": {"read_bytes": 1e5, "written_bytes": 1e5, "busy_percent": 5},
    "interface": {"received_bytes": 1e5, "sent_bytes": 1e5, "errors": 1, "drops": 1},
    "sensor": {"celsius": 5},
}
# Of each kind those seen last: each is read by itself.
_MOST_DEVICES = 100


def device_changes(view: View, asked: Spans) -> Iterator[Moved]:
    for kind, least in LEAST.items():
        metrics = [metric for metric in METRICS[kind] if metric.name in least]
        for device in view.read(partial(stored.names, kind=kind, most=_MOST_DEVICES)):
            yield from _of_device(view, asked, kind, device, metrics)


def _of_device(
    view: View, asked: Spans, kind: Kind, device: stored.DeviceName, metrics: Sequence[DeviceMetric]
) -> Iterator[Moved]:
    windows = [asked.before, (asked.start, asked.end)]
    is_in_rows = [view.read(partial(stored.is_in_rows, kind=kind, start=start, end=end)) for start, end in windows]
    in_rows = all(is_in_rows)
    columns = [_columns(view, kind, device, metrics, start, asked.seconds, 1, in_rows) for start, _ in windows]
    changed = {}
    for place, metric in enumerate(metrics):
        (before,), (after,) = (_known(each[place], asked.seconds) for each in columns)
        if before is not None and after is not None and abs(after - before) >= LEAST[kind][metric.name]:
            changed[metric] = after - before
    if not changed:
        return
    usual = _usual(view, asked, kind, device, list(changed))
    for place, (metric, change) in enumerate(changed.items()):
        scored = score(change, usual[place], LEAST[kind][metric.name])
        if scored is not None and scored >= LEAST_SCORE:
            sql = change_sql.of_device(kind, device.name, metric.name, in_rows, *windows)
            yield Moved(-scored, "device", f"{kind}:{device.name}", metric.name, metric.unit, sql)


def _usual(
    view: View, asked: Spans, kind: Kind, device: stored.DeviceName, metrics: Sequence[DeviceMetric]
) -> list[list[float]]:
    """Of each metric its changes between the windows from which the usual is learnt: those of names and services."""
    tiles = asked.user_tiles
    starts = (tiles.start - asked.against, tiles.start)
    ends = [start + tiles.count * tiles.step for start in starts]
    in_rows = all(
        view.read(partial(stored.is_in_rows, kind=kind, start=start, end=end))
        for start, end in zip(starts, ends, strict=True)
    )
    if not in_rows and tiles.step < HOUR:
        return [[] for _ in metrics]
    earlier, later = (
        _columns(view, kind, device, metrics, start, tiles.step, tiles.count, in_rows) for start in starts
    )
    found = []
    for before, after in zip(earlier, later, strict=True):
        pairs = zip(_known(before, tiles.step), _known(after, tiles.step), strict=True)
        found.append([tiles.factor * (b - a) for a, b in pairs if a is not None and b is not None])
    return found


def _columns(
    view: View,
    kind: Kind,
    device: stored.DeviceName,
    metrics: Sequence[DeviceMetric],
    start: int,
    step: int,
    count: int,
    in_rows: bool,
) -> list[stored.Column]:
    return view.read(
        lambda statements: stored.course(statements, kind, device.number, metrics, start, step, count, in_rows)
    )


def _known(column: stored.Column, seconds: int) -> list[float | None]:
    """The averages of the buckets that are known by half."""
    return [
        average if weight >= LEAST_COVERAGE * 1000 * seconds else None
        for average, weight in zip(column.averages, column.weights, strict=True)
    ]
