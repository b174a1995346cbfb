"""Writes samples as OpenMetrics text: a Prometheus that takes no old samples takes blocks that promtool makes of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from service import clock
from service.metrics import METRICS, Metric, exposed_value
from service.store.reader import History
from service.store.statements import Row

# Two readings of when one boot was may differ by that much.
_BOOT_SECONDS = clock.MINUTE
_STAMP = "tidemark_sample_timestamp_seconds"


def write(
    history: History,
    start: int,
    end: int,
    labels: Mapping[str, str],
    out: IO[str],
    progress: Callable[[float], object],
) -> int:
    """Write the samples of start <= ts < end under the names of /metrics, one metric after the other.

    The format is that of OpenMetrics 1.0 (github.com/prometheus/OpenMetrics). Where the host booted between two samples
    a counter gets a 0 at that time: one that has soon grown beyond its old total would be taken to have gone on.

    `labels`: of every series, beside `job`, which is `tidemark`. `progress`: see `archive.export`.

    :returns: how many points there are.
    """
    written = ",".join(f'{label}="{_escaped(of)}"' for label, of in sorted({**labels, "job": "tidemark"}.items()))
    series: list[Metric | None] = [*METRICS, None]
    points = 0
    for metric in series:
        out.write(_head(metric))
        name = f"{metric.exposed_name if metric else _STAMP}{{{written}}}"
        last: Row | None = None
        for rows in _pieces(history, metric, start, end):
            for ts, value in _points(metric, last, rows):
                out.write(f"{name} {value!r} {ts}\n")
                points += 1
            last = rows[-1]
        progress((end - start) / len(series))
    out.write("# EOF\n")
    return points


def _head(metric: Metric | None) -> str:
    """In OpenMetrics the name of a counter is that of its samples without `_total`."""
    name, kind, text = _STAMP, "gauge", "When the sample was taken"
    if metric is not None:
        name, kind, text = metric.exposed_name.removesuffix("_total"), metric.kind, metric.help
    return f"# TYPE {name} {kind}\n# HELP {name} {text}\n"


def _pieces(history: History, metric: Metric | None, start: int, end: int) -> Iterator[Sequence[Row]]:
    """Each read in a transaction of its own, so that the daemon's log can shrink between two."""
    while start < end:
        with history.view() as view:
            rows = view.course(metric, start, end)
        if not rows:
            return
        yield rows
        start = rows[-1][0] + 1


def _points(metric: Metric | None, before: Row | None, rows: Sequence[Row]) -> Iterator[tuple[int, float]]:
    """Stamps and values, in base units. `before`: the row before these, None for the first ever."""
    for row in rows:
        ts, value, boot = row[:3]
        if metric is not None and metric.is_counter and before is not None and _has_booted(before, ts, boot):
            yield boot, 0
        yield ts, value if metric is None else exposed_value(metric, value)
        before = row


def _has_booted(before: Row, ts: int, boot: int | None) -> bool:
    last, _, last_boot = before[:3]
    if boot is None or last_boot is None:
        return False
    return bool(last < boot < ts and abs(boot - last_boot) > _BOOT_SECONDS)


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
