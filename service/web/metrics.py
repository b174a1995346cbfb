"""/metrics: the newest sample in base units and Tidemark's own counters, in the Prometheus text format."""

import logging
from collections.abc import Callable, Iterator

from flask import Blueprint, Response

from service.answers.monitor import ResourceMonitor
from service.errors import HistoryUnreadable
from service.metrics import METRICS, Metric

log = logging.getLogger(__name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposed_name(metric: Metric) -> str:
    """Base units in the name: ratios for percentages, `_total` for counters (prometheus.io/docs/practices/naming)."""
    if metric.unit == "percent":
        return f"tidemark_{metric.name.removesuffix('_percent')}_ratio"
    return f"tidemark_{metric.name}_total" if metric.is_counter else f"tidemark_{metric.name}"


def blueprint(monitor: ResourceMonitor, counts: Callable[[], dict[str, int]]) -> Blueprint:
    """The route over one monitor. `counts`: counter name -> value."""
    metrics = Blueprint("metrics", __name__)

    @metrics.route("/metrics")
    def get_metrics() -> Response:
        return Response("".join(_families(monitor, counts())), mimetype=_CONTENT_TYPE)

    return metrics


def _families(monitor: ResourceMonitor, counts: dict[str, int]) -> Iterator[str]:
    """The newest sample where the history can be read, and in any case how Tidemark itself fares."""
    try:
        newest = monitor.newest()
    except HistoryUnreadable as error:
        log.error("no sample for /metrics: %s (%s)", error, getattr(error.__cause__, "orig", "none stored"))
    else:
        for metric in METRICS:
            value = newest.values[metric.name]
            shown = value / 100 if value is not None and metric.unit == "percent" else value
            yield _family(exposed_name(metric), metric.help, metric.kind, shown)
        yield _family("tidemark_sample_timestamp_seconds", "When the newest sample was taken", "gauge", newest.ts)
    for name, count in sorted(counts.items()):
        yield _family(f"tidemark_{name}_total", "Counted by this daemon since its start", "counter", count)


def _family(name: str, help: str, kind: str, value: float | None) -> str:
    """One metric without labels, nothing where it is unknown. Names and helps are ours, so nothing needs escaping.

    The format (github.com/prometheus/docs, exposition_formats.md) is written here because prometheus-client brings
    OpenSSL and 5 MB with it; in the tests it reads what stands here.
    """
    return "" if value is None else f"# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value!r}\n"
