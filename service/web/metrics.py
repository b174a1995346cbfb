"""/metrics: the newest sample in base units and Tidemark's own counters, in the Prometheus text format."""

import logging
from collections.abc import Callable, Iterator

from flask import Blueprint, Response

from service.errors import HistoryUnreadable
from service.metrics import METRICS, Metric
from service.monitor import ResourceMonitor

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
        # Imported at the first scrape: who is not scraped does not carry it.
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Newest(monitor, counts))  # type: ignore[arg-type]
        return Response(generate_latest(registry), mimetype=_CONTENT_TYPE)

    return metrics


class _Newest:
    """The newest sample where the history can be read, and in any case how Tidemark itself fares."""

    def __init__(self, monitor: ResourceMonitor, counts: Callable[[], dict[str, int]]) -> None:
        self._monitor, self._counts = monitor, counts

    def collect(self) -> Iterator[object]:
        from prometheus_client.core import CounterMetricFamily

        try:
            yield from self._sample()
        except HistoryUnreadable as error:
            log.error("no sample for /metrics: %s (%s)", error, getattr(error.__cause__, "orig", "none stored"))
        for name, value in sorted(self._counts().items()):
            yield CounterMetricFamily(f"tidemark_{name}_total", "Counted by this daemon since its start", value)

    def _sample(self) -> Iterator[object]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        newest = self._monitor.newest()
        for metric in METRICS:
            value = newest.values[metric.name]
            family = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
            if value is not None:
                yield family(exposed_name(metric), metric.help, value / 100 if metric.unit == "percent" else value)
        yield GaugeMetricFamily("tidemark_sample_timestamp_seconds", "When the newest sample was taken", newest.ts)
