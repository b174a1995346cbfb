"""/metrics: the newest sample in base units and Tidemark's own counters, in the Prometheus text format."""

import logging
from collections.abc import Callable, Iterator

from flask import Blueprint, Response
from msgspec import UnsetType

from service.answers.health import Health
from service.answers.monitor import ResourceMonitor, Snapshot
from service.errors import HistoryUnreadable
from service.metrics import METRICS, exposed_value
from service.store.reader import Newest

log = logging.getLogger(__name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def blueprint(
    monitor: ResourceMonitor, counts: Callable[[], dict[str, int]], health: Callable[[], Health] | None = None
) -> Blueprint:
    """The route over one monitor. `counts`: counter name -> value. `health`: asked where the history is forwarded."""
    metrics = Blueprint("metrics", __name__)

    kept: list[tuple[Snapshot, str]] = []

    def newest_sample() -> str:
        """Where the history can be read; written once for each sample."""
        try:
            snapshot = monitor.snapshot()
        except HistoryUnreadable as error:
            log.error("no sample for /metrics: %s (%s)", error, getattr(error.__cause__, "orig", "none stored"))
            return ""
        if not kept or kept[0][0] is not snapshot:
            kept[:] = [(snapshot, "".join(_of_sample(snapshot.newest)))]
        return kept[0][1]

    @metrics.route("/metrics")
    def get_metrics() -> Response:
        own = "".join(_of_counts(counts())) + (_of_forwarding(health()) if health is not None else "")
        return Response(newest_sample() + own, content_type=_CONTENT_TYPE)

    return metrics


def _of_sample(newest: Newest) -> Iterator[str]:
    for metric in METRICS:
        value = newest.values[metric.name]
        shown = None if value is None else exposed_value(metric, value)
        yield _family(metric.exposed_name, metric.help, metric.kind, shown)
    yield _family("tidemark_sample_timestamp_seconds", "When the newest sample was taken", "gauge", newest.ts)


def _of_counts(counts: dict[str, int]) -> Iterator[str]:
    for name, count in sorted(counts.items()):
        yield _family(f"tidemark_{name}_total", "Counted by this daemon since its start", "counter", count)


def _of_forwarding(health: Health) -> str:
    if isinstance(health.forward, UnsetType):
        return ""
    help = "From the last sample that the receiver acknowledged to the newest stored"
    return _family("tidemark_forward_lag_seconds", help, "gauge", health.forward.lag_seconds)


def _family(name: str, help: str, kind: str, value: float | None) -> str:
    """One metric without labels, nothing where it is unknown. Names and helps are ours, so nothing needs escaping.

    The format (github.com/prometheus/docs, exposition_formats.md) is written here because prometheus-client brings
    OpenSSL and 5 MB with it; in the tests it reads what stands here.
    """
    return "" if value is None else f"# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value!r}\n"
